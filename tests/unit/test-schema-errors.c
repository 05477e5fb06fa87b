/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Errors of QMP arguments: each text is what qemu-storage-daemon 10.0.2 answered to the same input
 * (NULL: it took no offence at the types).
 */
#include "qmp-schema/json-text.h"
#include "qmp-schema/qmp-types.h"

typedef struct ErrorCase {
    const char *json;
    const char *error;
} ErrorCase;

static const ErrorCase BlockdevOptions_cases[] = {
    {"{}", "Parameter 'driver' is missing"},
    {"{'driver': 1}", "Invalid parameter type for 'driver', expected: string"},
    {"{'driver': 'xyz'}", "Parameter 'driver' does not accept value 'xyz'"},
    {"{'driver': null}", "Invalid parameter type for 'driver', expected: string"},
    {"{'driver': 'file'}", "Parameter 'filename' is missing"},
    {"{'driver': 'file', 'filename': 3}",
     "Invalid parameter type for 'filename', expected: string"},
    {"{'driver': 'file', 'filename': '/x', 'foo': 1}", "Parameter 'foo' is unexpected"},
    {"{'driver': 'file', 'filename': '/x', 'node-name': [1]}",
     "Invalid parameter type for 'node-name', expected: string"},
    {"{'driver': 'raw', 'file': 3}", "Invalid parameter type for 'file', expected: BlockdevRef"},
    {"{'driver': 'raw', 'file': null}", "Invalid parameter type for 'file', expected: BlockdevRef"},
    {"{'driver': 'raw', 'file': []}", "Invalid parameter type for 'file', expected: BlockdevRef"},
    {"{'driver': 'raw', 'file': {'driver': 'file'}}", "Parameter 'file.filename' is missing"},
    {"{'driver': 'raw', 'file': {'driver': 'file', 'filename': '/a', 'x': 1}}",
     "Parameter 'file.x' is unexpected"},
    {"{'driver': 'raw', 'file': {}}", "Parameter 'file.driver' is missing"},
    {"{'driver': 'raw', 'file': {'driver': 'zz'}}",
     "Parameter 'driver' does not accept value 'zz'"},
    {"{'driver': 'null-co', 'size': 1.5}", "Invalid parameter type for 'size', expected: integer"},
    {"{'driver': 'null-co', 'size': 1.0}", "Invalid parameter type for 'size', expected: integer"},
    {"{'driver': 'null-co', 'size': '1'}", "Invalid parameter type for 'size', expected: integer"},
    {"{'driver': 'null-co', 'latency-ns': -1}", NULL},
    {"{'driver': 'null-co', 'latency-ns': 'a'}", "Parameter 'latency-ns' expects uint64"},
    {"{'driver': 'null-co', 'latency-ns': 1.5}", "Parameter 'latency-ns' expects uint64"},
    {"{'driver': 'null-co', 'size': 9223372036854775808}",
     "Invalid parameter type for 'size', expected: integer"},
    {"{'driver': 'null-co', 'size': 18446744073709551615}",
     "Invalid parameter type for 'size', expected: integer"},
    {"{'driver': 'null-co', 'size': 18446744073709551616}",
     "Invalid parameter type for 'size', expected: integer"},
    {"{'driver': 'raw', 'file': 'x', 'size': 18446744073709551616}",
     "Invalid parameter type for 'size', expected: integer"},
    {"{'driver': 'raw', 'file': 'x', 'size': 'z'}",
     "Invalid parameter type for 'size', expected: integer"},
    {"{'driver': 'copy-before-write', 'file': 'x', 'target': 'y', 'cbw-timeout': 4294967296}",
     "Parameter 'cbw-timeout' expects uint32_t"},
    {"{'driver': 'copy-before-write', 'file': 'x', 'target': 'y', 'cbw-timeout': -1}",
     "Parameter 'cbw-timeout' expects uint32_t"},
    {"{'driver': 'copy-before-write', 'file': 'x', 'target': 'y', 'cbw-timeout': '3'}",
     "Parameter 'cbw-timeout' expects uint64"},
    {"{'driver': 'copy-before-write', 'file': 'x', 'target': 'y', 'on-cbw-error': '3'}",
     "Parameter 'on-cbw-error' does not accept value '3'"},
    {"{'driver': 'copy-before-write', 'file': 'x', 'target': 'y', 'bitmap': '3'}",
     "Invalid parameter type for 'bitmap', expected: object"},
    {"{'driver': 'blkdebug', 'image': 'x', 'align': 1099511627776}", NULL},
    {"{'driver': 'blkdebug', 'image': 'x', 'align': 'a'}",
     "Invalid parameter type for 'align', expected: integer"},
    {"{'driver': 'blkdebug', 'image': 'x', 'inject-error': {}}",
     "Invalid parameter type for 'inject-error', expected: array"},
    {"{'driver': 'blkdebug', 'image': 'x', 'inject-error': [1]}",
     "Invalid parameter type for 'inject-error[0]', expected: object"},
    {"{'driver': 'blkdebug', 'image': 'x', 'inject-error': [{'event': 'none'}, {'event': 'x'}]}",
     "Parameter 'event' does not accept value 'x'"},
    {"{'driver': 'blkdebug', 'image': 'x', 'inject-error': [{'event': 'none', 'errno': "
     "2147483648}]}",
     NULL},
    {"{'driver': 'blkdebug', 'image': 'x', 'inject-error': [{'event': 'none', 'bad': 1}]}",
     "Parameter 'inject-error[0].bad' is unexpected"},
    {"{'driver': 'blkdebug', 'image': 'x', 'take-child-perms': ['bad']}",
     "Parameter 'null' does not accept value 'bad'"},
    {"{'driver': 'blkdebug', 'image': 'x', 'take-child-perms': [null]}",
     "Invalid parameter type for 'take-child-perms[0]', expected: string"},
    {"{'driver': 'null-co', 'read-only': 'on'}",
     "Invalid parameter type for 'read-only', expected: boolean"},
    {"{'driver': 'null-co', 'cache': 'on'}",
     "Invalid parameter type for 'cache', expected: object"},
    {"{'driver': 'null-co', 'cache': {'direct': 'on'}}",
     "Invalid parameter type for 'cache.direct', expected: boolean"},
    {"{'driver': 'null-co', 'cache': {'dirct': true}}", "Parameter 'cache.dirct' is unexpected"},
    {"{'driver': 'null-co', 'cache.direct': true}", "Parameter 'cache.direct' is unexpected"},
};

static const ErrorCase TransactionArgs_cases[] = {
    {"{}", "Parameter 'actions' is missing"},
    {"{'actions': {}}", "Invalid parameter type for 'actions', expected: array"},
    {"{'actions': [{}]}", "Parameter 'actions[0].type' is missing"},
    {"{'actions': [{'type': 'abort'}]}", "Parameter 'actions[0].data' is missing"},
    {"{'actions': [{'type': 'abort', 'data': {'a': 1}}]}",
     "Parameter 'actions[0].data.a' is unexpected"},
    {"{'actions': [{'type': 'abort', 'data': 3}]}",
     "Invalid parameter type for 'actions[0].data', expected: object"},
    {"{'actions': [{'type': 'abort', 'data': {}}, {'type': 'block-dirty-bitmap-add', 'data': "
     "{'name': 'x'}}]}",
     "Parameter 'actions[1].data.node' is missing"},
    {"{'actions': [{'type': 'block-dirty-bitmap-add', 'data': {'node': 1}}]}",
     "Invalid parameter type for 'actions[0].data.node', expected: string"},
    {"{'actions': [{'type': 'block-dirty-bitmap-merge', 'data': {'node': '1', 'target': 'x', "
     "'bitmaps': [1]}}]}",
     "Invalid parameter type for 'null', expected: BlockDirtyBitmapOrStr"},
    {"{'actions': [{'type': 'block-dirty-bitmap-merge', 'data': {'node': '1', 'target': 'x', "
     "'bitmaps': ['a', {'node': 'x'}]}}]}",
     "Parameter 'actions[0].data.bitmaps[1].name' is missing"},
    {"{'actions': [{'type': 'bla', 'data': {'node': 1}}]}",
     "Parameter 'type' does not accept value 'bla'"},
    {"{'actions': [], 'properties': {'completion-mode': 'x'}}",
     "Parameter 'completion-mode' does not accept value 'x'"},
};

static const ErrorCase BlockDirtyBitmapAdd_cases[] = {
    {"{'node': 'x', 'name': 'y', 'granularity': 4294967296}",
     "Parameter 'granularity' expects uint32_t"},
    {"{'node': 'x', 'name': 'y', 'granularity': '4'}", "Parameter 'granularity' expects uint64"},
    {"{'node': 'x', 'name': 'y', 'granularity': -4}", "Parameter 'granularity' expects uint32_t"},
    {"{'node': 'x', 'name': 'y', 'granularity': 1000.0}", "Parameter 'granularity' expects uint64"},
};

static const ErrorCase QmpCapabilitiesArgs_cases[] = {
    {"{'enable': ['oob', 'x']}", "Parameter 'null' does not accept value 'x'"},
};

static const ErrorCase NbdServerOptionsLegacy_cases[] = {
    {"{'addr': 1}", "Invalid parameter type for 'addr', expected: object"},
    {"{'addr': {'type': 'inet'}}", "Parameter 'addr.data' is missing"},
    {"{'addr': {'type': 'inet', 'data': {'host': 'x'}}}", "Parameter 'addr.data.port' is missing"},
    {"{'addr': {'type': 'inet', 'data': {'host': 'x', 'port': 1}}}",
     "Invalid parameter type for 'addr.data.port', expected: string"},
    {"{'addr': {'type': 'unix', 'data': {'path': '/tmp/x'}}, 'max-connections': -1}",
     "Parameter 'max-connections' expects uint32_t"},
};

static const ErrorCase BlockExportOptions_cases[] = {
    {"{'type': 'nbd'}", "Parameter 'id' is missing"},
    {"{'type': 'nbd', 'id': 'x', 'node-name': 'y', 'bitmaps': [3]}",
     "Invalid parameter type for 'null', expected: BlockDirtyBitmapOrStr"},
    {"{'type': 'nbd', 'id': 'x', 'node-name': 'y', 'bitmaps': 3}",
     "Invalid parameter type for 'bitmaps', expected: array"},
    {"{'type': 'nbd', 'id': 'x', 'node-name': 'y', 'bitmaps': [{'node': 'x'}]}",
     "Parameter 'bitmaps[0].name' is missing"},
};

static const ErrorCase BlockExportDelArgs_cases[] = {
    {"{'id': 'x', 'mode': 'z'}", "Parameter 'mode' does not accept value 'z'"},
};

static const ErrorCase ObjectOptions_cases[] = {
    {"{'qom-type': 'iothread'}", "Parameter 'id' is missing"},
    {"{'qom-type': 'x', 'id': 'y'}", "Parameter 'qom-type' does not accept value 'x'"},
    {"{'qom-type': 'iothread', 'id': 'y', 'poll-max-ns': 'x'}",
     "Invalid parameter type for 'poll-max-ns', expected: integer"},
};

static const ErrorCase BlockJobSetSpeedArgs_cases[] = {
    {"{'device': 'd', 'speed': -9223372036854775808}", NULL},
    {"{'device': 'd', 'speed': 9223372036854775808}",
     "Invalid parameter type for 'speed', expected: integer"},
};

static const ErrorCase BlockdevBackup_cases[] = {
    {"{'device': 'd', 'target': 't', 'sync': 'full', 'x-perf': {'max-workers': 'x'}}",
     "Invalid parameter type for 'x-perf.max-workers', expected: integer"},
    {"{'device': 'd', 'target': 't', 'sync': 'full', 'job-id': ''}", NULL},
    {"{'device': 'd', 'target': 't', 'sync': ''}", "Parameter 'sync' does not accept value ''"},
};

static void check_error(const char *json, const char *expected, void *parsed, GError *error)
{
    g_test_message("%s", json);
    if (expected) {
        g_assert_null(parsed);
        g_assert_nonnull(error);
        g_assert_cmpstr(error->message, ==, expected);
    } else {
        g_assert_no_error(error);
        g_assert_nonnull(parsed);
    }
    g_clear_error(&error);
}

/* A test function that reads each case as a T. */
#define DEFINE_TEST(T)                                                                             \
    static void test_##T(void)                                                                     \
    {                                                                                              \
        for (size_t i = 0; i < G_N_ELEMENTS(T##_cases); i++) {                                     \
            const char *text = T##_cases[i].json;                                                  \
            GError *error = NULL;                                                                  \
            json_t *json = json_text_parse(text, strlen(text), &error);                            \
            g_assert_no_error(error);                                                              \
            g_autoptr(T) parsed = T##_parse(json, NULL, &error);                                   \
            check_error(text, T##_cases[i].error, parsed, error);                                  \
            json_decref(json);                                                                     \
        }                                                                                          \
    }

DEFINE_TEST(BlockdevOptions)
DEFINE_TEST(TransactionArgs)
DEFINE_TEST(BlockDirtyBitmapAdd)
DEFINE_TEST(QmpCapabilitiesArgs)
DEFINE_TEST(NbdServerOptionsLegacy)
DEFINE_TEST(BlockExportOptions)
DEFINE_TEST(BlockExportDelArgs)
DEFINE_TEST(ObjectOptions)
DEFINE_TEST(BlockJobSetSpeedArgs)
DEFINE_TEST(BlockdevBackup)

/* The path in a message grows with the input, and so does the stack: both have a bound. */
static void test_depth(void)
{
    GString *text = g_string_new("'x'");
    GError *error = NULL;
    json_t *json;

    for (int i = 0; i < 500; i++) {
        g_string_prepend(text, "{'driver': 'raw', 'file': ");
        g_string_append_c(text, '}');
    }
    json = json_text_parse(text->str, text->len, &error);
    g_assert_no_error(error);
    g_assert_null(BlockdevOptions_parse(json, NULL, &error));
    g_assert_cmpstr(error->message, ==, "Parameters are nested more than 200 deep");
    g_error_free(error);
    json_decref(json);
    g_string_free(text, TRUE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/schema/errors/BlockdevOptions", test_BlockdevOptions);
    g_test_add_func("/schema/errors/TransactionArgs", test_TransactionArgs);
    g_test_add_func("/schema/errors/BlockDirtyBitmapAdd", test_BlockDirtyBitmapAdd);
    g_test_add_func("/schema/errors/QmpCapabilitiesArgs", test_QmpCapabilitiesArgs);
    g_test_add_func("/schema/errors/NbdServerOptionsLegacy", test_NbdServerOptionsLegacy);
    g_test_add_func("/schema/errors/BlockExportOptions", test_BlockExportOptions);
    g_test_add_func("/schema/errors/BlockExportDelArgs", test_BlockExportDelArgs);
    g_test_add_func("/schema/errors/ObjectOptions", test_ObjectOptions);
    g_test_add_func("/schema/errors/BlockJobSetSpeedArgs", test_BlockJobSetSpeedArgs);
    g_test_add_func("/schema/errors/BlockdevBackup", test_BlockdevBackup);
    g_test_add_func("/schema/errors/depth", test_depth);
    return g_test_run();
}
