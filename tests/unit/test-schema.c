/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The generated types: from JSON and back, copies, enums, events, and the schema's own description.
 */
#include "qmp-schema/dispatch.h"
#include "qmp-schema/event-sink.h"
#include "qmp-schema/json-text.h"
#include "qmp-schema/qmp-events.h"
#include "util/error.h"

static json_t *json_of(const char *text)
{
    GError *error = NULL;
    json_t *json = json_text_parse(text, strlen(text), &error);

    g_assert_no_error(error);
    return json;
}

/* Checks that @json, which is released, holds what @text says. */
static void check_json(json_t *json, const char *text)
{
    json_t *expected = json_of(text);
    char *dump = json_dumps(json, JSON_COMPACT);

    g_test_message("%s", dump);
    g_assert_true(json_equal(json, expected));
    free(dump);
    json_decref(json);
    json_decref(expected);
}

/* Reads @text as a T, copies that, and checks that both give the same JSON again. */
#define ROUND_TRIP(T, text)                                                                        \
    do {                                                                                           \
        GError *error = NULL;                                                                      \
        json_t *json = json_of(text);                                                              \
        T *parsed = T##_parse(json, NULL, &error);                                                 \
        g_assert_no_error(error);                                                                  \
        g_autoptr(T) copy = T##_copy(parsed);                                                      \
        check_json(T##_to_json(parsed), text);                                                     \
        T##_free(parsed);                                                                          \
        check_json(T##_to_json(copy), text);                                                       \
        json_decref(json);                                                                         \
    } while (0)

static void test_round_trips(void)
{
    ROUND_TRIP(BlockdevOptions,
               "{'driver': 'null-co', 'node-name': 'n', 'size': 3, 'latency-ns': 5}");
    ROUND_TRIP(BlockdevOptions,
               "{'driver': 'raw', 'cache': {'direct': true}, 'read-only': false, 'file': "
               "{'driver': 'file', 'filename': '/x', 'aio': 'io_uring'}}");
    ROUND_TRIP(BlockdevOptions, "{'driver': 'snapshot-access', 'file': 'other'}");
    ROUND_TRIP(BlockdevOptions,
               "{'driver': 'nbd', 'server': {'type': 'unix', 'path': '/s'}, 'export': ''}");
    ROUND_TRIP(
        BlockdevOptions,
        "{'driver': 'blkdebug', 'image': 'x', 'inject-error': [{'event': 'read_aio', 'errno': 5},"
        " {'event': 'none', 'iotype': 'write-zeroes'}], 'take-child-perms': ['write', 'resize'],"
        " 'unshare-child-perms': []}");
    ROUND_TRIP(BlockdevOptions,
               "{'driver': 'copy-before-write', 'file': 'a', 'target': {'driver': 'null-co'},"
               " 'bitmap': {'node': 'a', 'name': 'b'}, 'cbw-timeout': 4294967295}");
    ROUND_TRIP(
        TransactionArgs,
        "{'actions': [{'type': 'abort', 'data': {}}, {'type': 'block-dirty-bitmap-merge', 'data': "
        "{'node': 'n', 'target': 't', 'bitmaps': ['a', {'node': 'm', 'name': 'b'}]}}],"
        " 'properties': {'completion-mode': 'grouped'}}");
    ROUND_TRIP(BlockJobInfo,
               "{'type': 'backup', 'device': 'j', 'len': 1, 'offset': 0, 'busy': true,"
               " 'paused': false, 'speed': 0, 'io-status': 'ok', 'ready': false,"
               " 'status': 'running', 'auto-finalize': true, 'auto-dismiss': true}");
    ROUND_TRIP(SchemaInfoObjectMember, "{'name': 'a', 'type': 'b', 'default': null}");
    ROUND_TRIP(ObjectOptions, "{'qom-type': 'iothread', 'id': 'i', 'aio-max-batch': 7}");
}

static void test_members(void)
{
    json_t *json = json_of("{'driver': 'raw', 'file': 'below', 'offset': 512}");
    g_autoptr(BlockdevOptions) options = BlockdevOptions_parse(json, NULL, NULL);

    g_assert_cmpint(options->driver, ==, BLOCKDEV_DRIVER_RAW);
    g_assert_null(options->node_name);
    g_assert_false(options->has_read_only);
    g_assert_cmpint(options->u.raw.file->kind, ==, BLOCKDEV_REF_KIND_REFERENCE);
    g_assert_cmpstr(options->u.raw.file->u.reference, ==, "below");
    g_assert_true(options->u.raw.has_offset);
    g_assert_cmpint(options->u.raw.offset, ==, 512);
    g_assert_false(options->u.raw.has_size);
    json_decref(json);
}

static void test_no_arguments_at_all(void)
{
    GError *error = NULL;
    g_autoptr(QueryNamedBlockNodesArgs) args = QueryNamedBlockNodesArgs_parse(NULL, NULL, &error);

    g_assert_no_error(error);
    g_assert_false(args->has_flat);
    g_assert_null(BlockdevDelArgs_parse(NULL, NULL, &error));
    g_assert_error(error, TM_ERROR, TM_ERROR_GENERIC);
    g_error_free(error);
}

static void test_null_is_freed_and_copied(void)
{
    BlockdevOptions_free(NULL);
    g_assert_null(BlockdevOptions_copy(NULL));
}

static void test_enums(void)
{
    OnCbwError value;
    GError *error = NULL;

    g_assert_cmpstr(OnCbwError_name(ON_CBW_ERROR_BREAK_GUEST_WRITE), ==, "break-guest-write");
    g_assert_true(OnCbwError_parse_name("break-snapshot", &value, NULL));
    g_assert_cmpint(value, ==, ON_CBW_ERROR_BREAK_SNAPSHOT);
    g_assert_false(OnCbwError_parse_name("x", &value, &error));
    g_assert_nonnull(error);
    g_error_free(error);
}

static void test_text_that_is_no_utf8(void)
{
    BlockdevDelArgs args = {.node_name = (char *)"a\xff"};
    json_t *json = BlockdevDelArgs_to_json(&args);

    g_assert_cmpstr(json_string_value(json_object_get(json, "node-name")), ==, "a\xef\xbf\xbd");
    json_decref(json);
}

static void keep_event(const char *name, json_t *data, void *opaque)
{
    json_t **kept = opaque;

    *kept = json_pack("{s:s,s:o}", "name", name, "data", data);
}

static void test_events(void)
{
    json_t *kept = NULL;
    JobStatusChangeEvent event = {.id = (char *)"j", .status = JOB_STATUS_STANDBY};

    qmp_event_job_status_change(&event); /* nobody listens */
    qmp_event_set_sink(keep_event, &kept);
    qmp_event_job_status_change(&event);
    check_json(kept, "{'name': 'JOB_STATUS_CHANGE', 'data': {'id': 'j', 'status': 'standby'}}");
    qmp_event_set_sink(NULL, NULL);
    qmp_event_job_status_change(&event);
}

/* Each entry of the reply is what SchemaInfo says, and each type that an entry names is an entry.
 */
static void test_introspection(void)
{
    json_t *reply = qmp_introspection();
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    json_t *entry;
    size_t i;

    json_array_foreach(reply, i, entry)
    {
        GError *error = NULL;
        g_autoptr(SchemaInfo) info = SchemaInfo_parse(entry, NULL, &error);
        const char *name = json_string_value(json_object_get(entry, "name"));

        g_assert_no_error(error);
        g_assert_true(g_hash_table_add(names, (char *)name));
    }
    json_array_foreach(reply, i, entry)
    {
        static const char *const references[] = {"arg-type", "ret-type", "element-type"};
        for (size_t k = 0; k < G_N_ELEMENTS(references); k++) {
            json_t *type = json_object_get(entry, references[k]);
            g_assert_true(!type || g_hash_table_contains(names, json_string_value(type)));
        }
    }
    g_assert_true(g_hash_table_contains(names, "blockdev-add"));
    g_assert_true(g_hash_table_contains(names, "BLOCK_JOB_READY"));
    json_decref(reply);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/schema/round-trips", test_round_trips);
    g_test_add_func("/schema/members", test_members);
    g_test_add_func("/schema/no-arguments", test_no_arguments_at_all);
    g_test_add_func("/schema/null", test_null_is_freed_and_copied);
    g_test_add_func("/schema/enums", test_enums);
    g_test_add_func("/schema/utf8", test_text_that_is_no_utf8);
    g_test_add_func("/schema/events", test_events);
    g_test_add_func("/schema/introspection", test_introspection);
    return g_test_run();
}
