/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Options of the command line, key=value and JSON: what is made of them, and the errors. The texts
 * of errors are what `qemu-storage-daemon --blockdev TEXT` (10.0.2) answered; NULL: it took no
 * offence at the syntax and types.
 */
#include "qmp-schema/keyval.h"
#include "qmp-schema/qmp-types.h"

static const struct {
    const char *text;
    const char *error;
} blockdev_cases[] = {
    {"null-co,node-name=n,size=1G,foo=1", "Parameter 'size' expects integer"},
    {"driver=null-co,node-name=n,size=1x", "Parameter 'size' expects integer"},
    {"driver=null-co,node-name=n,size=", "Parameter 'size' expects integer"},
    {"driver=null-co,node-name=n,size=1.5", "Parameter 'size' expects integer"},
    {"driver=null-co,node-name=n,size=0x10", NULL},
    {"driver=null-co,node-name=n,size=+10", NULL},
    {"driver=null-co,node-name=n,size=10 ", "Parameter 'size' expects integer"},
    {"driver=null-co,node-name=n,size= 10", NULL},
    {"driver=null-co,node-name=n,size=99999999999999999999", "Parameter 'size' expects integer"},
    {"driver=null-co,latency-ns=-1", NULL},
    {"driver=null-co,node-name=n,latency-ns=x", "Parameter 'latency-ns' expects integer"},
    {"driver=raw,file=x,size=1k", "Parameter 'size' expects integer"},
    {"driver=raw,file=x,size=-1", NULL},
    {"driver=raw,file.driver=file", "Parameter 'file.filename' is missing"},
    {"driver=raw,file.driver=file,file=x", "Parameters 'file.*' used inconsistently"},
    {"driver=raw,file=x,file.driver=file", "Parameters 'file.*' used inconsistently"},
    {"driver=raw,file.driver=null-co,file.size=z", "Parameter 'file.size' expects integer"},
    {"driver=raw,file.0=x", "Invalid parameter type for 'file', expected: BlockdevRef"},
    {"driver=raw,file.0.driver=x", "Invalid parameter type for 'file', expected: BlockdevRef"},
    {"driver=null-co,node-name.x=y", "Parameters 'node-name.*' are unexpected"},
    {"driver=null-co,node-name=n,read-only=maybe", "Parameter 'read-only' expects 'on' or 'off'"},
    {"driver=null-co,node-name=n,read-only=yes", NULL},
    {"driver=null-co,node-name=n,read-only=n", NULL},
    {"driver=null-co,node-name=n,read-only=false", NULL},
    {"driver=null-co,node-name=n,read-only=TRUE", "Parameter 'read-only' expects 'on' or 'off'"},
    {"driver=null-co,node-name=n,read-only", "Expected '=' after parameter 'read-only'"},
    {"driver=null-co,node-name=n,=x", "Invalid parameter ''"},
    {"driver=null-co,node-name=n,9=x", "Invalid parameter '9'"},
    {"driver=null-co,node-name=n,cache.direct=x", "Parameter 'cache.direct' expects 'on' or 'off'"},
    {"driver=null-co,node-name=n,cache=x", "Invalid parameter type for 'cache', expected: object"},
    {"driver=null-co,node-name=n,cache.dirct=x", "Parameter 'cache.dirct' is unexpected"},
    {"driver=null-co,node-name=n,cache.direct.x=1", "Parameters 'cache.direct.*' are unexpected"},
    {"driver=null-co,node-name=n,a..b=x", "Invalid parameter 'a..b'"},
    {"driver=null-co,node-name=n,a.=1", "Invalid parameter 'a.'"},
    {"driver=null-co,node-name=n,.a=1", "Invalid parameter '.a'"},
    {"driver=null-co,node-name=n,a.0x=1", "Invalid parameter 'a.0x'"},
    {"driver=null-co,node-name=n,a.0.x=1,a.00.y=1", "Parameter 'a' is unexpected"},
    {"driver=null-co,node-name=n,a.99999999999999999999=1", "Parameter 'a.0' missing"},
    {"driver=null-co,node-name=n,a.b.0=1,a.b.2=1", "Parameter 'a.b.1' missing"},
    {"driver=null-co,node-name=n,0.b=1", "Invalid parameter '0.b'"},
    {"driver=null-co,node-name=n,a b=1", "Invalid parameter 'a b'"},
    {"driver=null-co,node-name=n,_a=1", "Invalid parameter '_a'"},
    {"driver=null-co,node-name=n,__org.a=1", "Invalid parameter '__org.a'"},
    {"driver=null-co,node-name=n,__org.x_a=1", "Parameter '__org.x_a' is unexpected"},
    {"driver=null-co,node-name=n,x-=1", "Parameter 'x-' is unexpected"},
    {"driver=null-co,node-name=n,", NULL},
    {"driver=null-co,node-name=n,,,=1", "Invalid parameter ''"},
    {"driver=blkdebug,image=x,inject-error.1.event=none", "Parameter 'inject-error.0' missing"},
    {"driver=blkdebug,image=x,inject-error.0.event=nne",
     "Parameter 'event' does not accept value 'nne'"},
    {"driver=blkdebug,image=x,inject-error.0=nne",
     "Invalid parameter type for 'inject-error.0', expected: object"},
    {"driver=blkdebug,image=x,inject-error.0.event=none,inject-error.x=none",
     "Parameters 'inject-error.*' used inconsistently"},
    {"driver=blkdebug,image=x,inject-error.0.event=none,inject-error.0.errno=x",
     "Parameter 'inject-error.0.errno' expects integer"},
    {"driver=blkdebug,image=x,inject-error.0.event=none,inject-error.0.bad=x",
     "Parameter 'inject-error.0.bad' is unexpected"},
    {"driver=blkdebug,image=x,inject-error.0.event.x=none",
     "Parameters 'inject-error.0.event.*' are unexpected"},
    {"driver=blkdebug,image=x,take-child-perms.0=z", "Parameter 'null' does not accept value 'z'"},
    {"driver=blkdebug,image=x,take-child-perms=z",
     "Invalid parameter type for 'take-child-perms', expected: array"},
    {"driver=blkdebug,image=x,max-discard=4294967296", "Parameter 'max-discard' expects int32_t"},
    {"driver=nbd,server.0=x", "Invalid parameter type for 'server', expected: object"},
    {"driver=nbd,server.type=inet,server.host=x", "Parameter 'server.port' is missing"},
    {"driver=nbd,server.type=inet,server.host=x,server.port=1,server.to=70000",
     "Parameter 'to' expects uint16_t"},
    {"driver=nbd,server.type=inet,server.host=x,server.port=1,reconnect-delay=-1",
     "Parameter 'reconnect-delay' expects uint32_t"},
    {"driver=copy-before-write,file=n,target=t,min-cluster-size=1z",
     "Parameter 'min-cluster-size' expects size"},
    {"driver=copy-before-write,file=n,target=t,min-cluster-size=1.5",
     "Parameter 'min-cluster-size' expects size"},
    {"driver=copy-before-write,file=n,target=t,min-cluster-size=0x10k",
     "Parameter 'min-cluster-size' expects size"},
    {"driver=copy-before-write,file=n,target=t,min-cluster-size=16E",
     "Parameter 'min-cluster-size' expects size"},
    {"driver=copy-before-write,file=n,target=t,min-cluster-size=1.5M", NULL},
    {"driver=copy-before-write,file=n,target=t,min-cluster-size=-1",
     "Parameter 'min-cluster-size' expects size"},
    {"node-name=n", "Parameter 'driver' is missing"},
    {"=x", "Invalid parameter ''"},
    {"", "Parameter 'driver' is missing"},
    {",,", "Invalid parameter ''"},
    {"a=b,,c,driver", "Expected '=' after parameter 'driver'"},
    {"help", "Help is not available for this option"},
    {"driver=help", "Parameter 'driver' does not accept value 'help'"},
    {"driver=file,?", "Help is not available for this option"},
    {"null-co,,x", "Invalid parameter ''"},
    {"null-co,node-name=n,help=3", "Parameter 'help' is unexpected"},
    {"foo", "Parameter 'driver' does not accept value 'foo'"},
    {"{", "JSON parse error, premature EOI"},
    {"{}", "Parameter 'driver' is missing"},
    {"[1]", "Parameter 'driver' does not accept value '[1]'"},
    {"{'driver':'null-co','size':'1'}", "Invalid parameter type for 'size', expected: integer"},
    {"{'driver':'null-co'} x", "Expecting at most one JSON value"},
    {"{'driver':'null-co'}}", "Expecting at most one JSON value"},
    {"{'driver':'null-co','node-name':'n',}", "JSON parse error, expecting value"},
    {"{'driver':'null-co','node-name':3}",
     "Invalid parameter type for 'node-name', expected: string"},
    {"{'driver':'null-co','driver':'x'}", "JSON parse error, duplicate key"},
    {"{'driver'", "JSON parse error, premature EOI"},
    {"{'driver':nul}", "JSON parse error, invalid keyword 'nul'"},
    {"{'driver':'\\q'}", "JSON parse error, invalid escape sequence in string"},
    {"{'driver':'\\u00'}", "JSON parse error, \\u00' is not a valid Unicode character"},
    {"{'driver':'\\ud800'}", "JSON parse error, \\ud800 is not a valid Unicode character"},
    {"{'driver':'\\ud83d\\ude00'}", "Parameter 'driver' does not accept value '😀'"},
    {"{'driver':'\\u00e9'}", "Parameter 'driver' does not accept value 'é'"},
    {"{\"driver\":'x',\"node-name\":\"it's\"}", "Parameter 'driver' does not accept value 'x'"},
    {"{'driver':'say\\'x'}", "Parameter 'driver' does not accept value 'say'x'"},
    {"{'driver':01}", "JSON parse error, stray '01'"},
    {"{'driver':1.}", "JSON parse error, stray '1.}'"},
    {"{'driver':-}", "JSON parse error, stray '-}'"},
    {"{'driver':.5}", "JSON parse error, stray '.'"},
    {"{'driver':+1}", "JSON parse error, stray '+'"},
    {"{'driver':'x", "JSON parse error, stray ''x'"},
    {"{'driver':'x\\", "JSON parse error, stray ''x\\'"},
    {"{'driver':'x\\u12", "JSON parse error, stray ''x\\u12'"},
    {"{'driver':[1 2]}", "JSON parse error, expected separator in list"},
    {"{'driver':[1,]}", "JSON parse error, expecting value"},
    {"{'driver':1e5}", "Invalid parameter type for 'driver', expected: string"},
    {"{3:4}", "JSON parse error, key is not a string in object"},
    {"{'driver' 1}", "JSON parse error, missing : in object pair"},
    {"{'driver':'null-co' 'x'}", "JSON parse error, expected separator in dict"},
    {"{'driver':'null-co'", "JSON parse error, premature EOI"},
    {"{'driver':[", "JSON parse error, premature EOI"},
    {"{'driver':}", "JSON parse error, expecting value"},
    {"{,}", "JSON parse error, expecting value"},
    {"{'driver':null}", "Invalid parameter type for 'driver', expected: string"},
    {"driver=null-co,"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=3",
     "Parameter "
     "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' is too long"},
    {"driver=null-co,x."
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=3",
     "Parameter fragment "
     "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' is too long"},
};

static void test_errors(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(blockdev_cases); i++) {
        SchemaInput in;
        GError *error = NULL;
        json_t *json = keyval_or_json_parse(blockdev_cases[i].text, "driver", &in, NULL, &error);
        g_autoptr(BlockdevOptions) parsed = json ? BlockdevOptions_parse(json, &in, &error) : NULL;

        g_test_message("%s", blockdev_cases[i].text);
        g_assert_cmpstr(error ? error->message : NULL, ==, blockdev_cases[i].error);
        g_assert_true(!parsed == !!error);
        g_clear_error(&error);
        json_decref(json);
    }
}

/* Parses @text and checks the tree that comes out, as compact JSON. */
static void check_tree(const char *text, const char *implied_key, const char *expected)
{
    GError *error = NULL;
    json_t *json = keyval_parse(text, implied_key, NULL, &error);
    char *dump;

    g_assert_no_error(error);
    dump = json_dumps(json, JSON_COMPACT);
    g_assert_cmpstr(dump, ==, expected);
    free(dump);
    json_decref(json);
}

static void test_trees(void)
{
    check_tree("", NULL, "{}");
    check_tree("a=1,a=2,", NULL, "{\"a\":\"2\"}");
    check_tree("driver=file,filename=a,,b=c", NULL, "{\"driver\":\"file\",\"filename\":\"a,b=c\"}");
    check_tree("raw,file.driver=file,file.filename=x", "driver",
               "{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"x\"}}");
    check_tree("b.1=y,b.0=x", NULL, "{\"b\":[\"x\",\"y\"]}");
    check_tree("b.0.c.0=x,b.0.c.1=y,b.1.d=z", NULL,
               "{\"b\":[{\"c\":[\"x\",\"y\"]},{\"d\":\"z\"}]}");
    check_tree("implied", "key", "{\"key\":\"implied\"}");
    check_tree("x=", NULL, "{\"x\":\"\"}");
}

static void test_bytes_that_are_no_utf8(void)
{
    GError *error = NULL;
    json_t *json = keyval_parse("file,filename=a\xff", "driver", NULL, &error);
    const SchemaInput in = {SCHEMA_INPUT_KEYVAL};
    g_autoptr(BlockdevOptions) options = BlockdevOptions_parse(json, &in, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(options->u.file.filename, ==, "a\xff");
    json_decref(json);
}

static void test_help(void)
{
    GError *error = NULL;
    bool help = false;
    json_t *json = keyval_parse("iothread,help", "qom-type", &help, &error);

    g_assert_no_error(error);
    g_assert_true(help);
    g_assert_cmpstr(json_string_value(json_object_get(json, "qom-type")), ==, "iothread");
    g_assert_cmpuint(json_object_size(json), ==, 1);
    json_decref(json);
}

static uint64_t size_of(const char *text)
{
    g_autofree char *option =
        g_strdup_printf("copy-before-write,file=a,target=b,min-cluster-size=%s", text);
    GError *error = NULL;
    json_t *json = keyval_parse(option, "driver", NULL, &error);
    const SchemaInput in = {SCHEMA_INPUT_KEYVAL};
    g_autoptr(BlockdevOptions) options = BlockdevOptions_parse(json, &in, &error);

    g_assert_no_error(error);
    json_decref(json);
    return options->u.copy_before_write.min_cluster_size;
}

static void test_sizes(void)
{
    g_assert_cmpuint(size_of("0"), ==, 0);
    g_assert_cmpuint(size_of("64k"), ==, 65536);
    g_assert_cmpuint(size_of("64K"), ==, 65536);
    g_assert_cmpuint(size_of("512b"), ==, 512);
    g_assert_cmpuint(size_of("1.5M"), ==, 1536 * 1024);
    g_assert_cmpuint(size_of(".5M"), ==, 512 * 1024);
    g_assert_cmpuint(size_of("1.k"), ==, 1024);
    g_assert_cmpuint(size_of("0x10000"), ==, 65536);
    g_assert_cmpuint(size_of("010"), ==, 10);
    g_assert_cmpuint(size_of("15E"), ==, UINT64_C(15) << 60);
}

static void test_keyval_values(void)
{
    GError *error = NULL;
    json_t *json = keyval_parse("nbd,id=e,node-name=n,writable=on,bitmaps.0=b0,bitmaps.1.node=m,"
                                "bitmaps.1.name=b1",
                                "type", NULL, &error);
    const SchemaInput in = {SCHEMA_INPUT_KEYVAL};
    g_autoptr(BlockExportOptions) options = BlockExportOptions_parse(json, &in, &error);
    BlockDirtyBitmapOrStr *second;

    g_assert_no_error(error);
    g_assert_true(options->has_writable && options->writable);
    g_assert_cmpuint(options->u.nbd.bitmaps->len, ==, 2);
    second = g_ptr_array_index(options->u.nbd.bitmaps, 1);
    g_assert_cmpint(second->kind, ==, BLOCK_DIRTY_BITMAP_OR_STR_KIND_EXTERNAL);
    g_assert_cmpstr(second->u.external->name, ==, "b1");
    json_decref(json);
}

static void test_flat(void)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    json_t *json =
        keyval_parse_flat("socket,id=c,path=/a,,b,server,nowait,nodelay=on", "backend", words);
    char *dump = json_dumps(json, JSON_COMPACT);

    g_assert_cmpstr(dump, ==,
                    "{\"backend\":\"socket\",\"id\":\"c\",\"path\":\"/a,b\",\"server\":\"on\","
                    "\"wait\":\"off\",\"nodelay\":\"on\"}");
    g_assert_cmpuint(words->len, ==, 2);
    g_assert_cmpstr(words->pdata[1], ==, "nowait");
    free(dump);
    json_decref(json);
}

static GRand *seeded(void)
{
    const char *given = g_getenv("TIDEMARK_SEED");
    guint32 seed = given ? (guint32)g_ascii_strtoull(given, NULL, 0) : g_random_int();

    g_test_message("TIDEMARK_SEED=%u", seed);
    return g_rand_new_with_seed(seed);
}

/* Damages @text in a few places with characters that mean something. */
static void damage(GString *text, GRand *rand)
{
    static const char alphabet[] = "{}[]:,.='\"\\u019-eE_ ax\xff\x01";

    for (int i = g_rand_int_range(rand, 1, 4); i > 0; i--) {
        int at = g_rand_int_range(rand, 0, (int)text->len + 1);
        if (g_rand_boolean(rand)) {
            g_string_insert_c(text, at, alphabet[g_rand_int_range(rand, 0, sizeof(alphabet) - 1)]);
        } else if (at < (int)text->len) {
            g_string_erase(text, at, g_rand_int_range(rand, 1, (int)text->len - at + 1));
        }
    }
}

/* Whatever the text is, there is either a value that can be printed, copied and freed, or an error.
 */
static void test_rubbish(void)
{
    g_autoptr(GRand) rand = seeded();

    for (int round = 0; round < 20000; round++) {
        int which = g_rand_int_range(rand, 0, G_N_ELEMENTS(blockdev_cases));
        GString *text = g_string_new(blockdev_cases[which].text);
        GError *error = NULL;
        SchemaInput in;

        damage(text, rand);
        json_t *json = keyval_or_json_parse(text->str, "driver", &in, NULL, &error);
        g_autoptr(BlockdevOptions) parsed = json ? BlockdevOptions_parse(json, &in, &error) : NULL;
        g_autoptr(BlockdevOptions) copy = BlockdevOptions_copy(parsed);
        g_assert_true(!parsed == !!error);
        if (copy) {
            json_decref(BlockdevOptions_to_json(copy));
        }
        g_clear_error(&error);
        json_decref(json);
        g_string_free(text, TRUE);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/schema/options/errors", test_errors);
    g_test_add_func("/schema/options/trees", test_trees);
    g_test_add_func("/schema/options/bytes", test_bytes_that_are_no_utf8);
    g_test_add_func("/schema/options/help", test_help);
    g_test_add_func("/schema/options/sizes", test_sizes);
    g_test_add_func("/schema/options/values", test_keyval_values);
    g_test_add_func("/schema/options/flat", test_flat);
    g_test_add_func("/schema/options/rubbish", test_rubbish);
    return g_test_run();
}
