/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading the internal snapshot table; see snapshots.h.
 *
 * The table is a stranger's: its entries are read one after the other, each bounded, all of them
 * together by QEMU's bound for the table.
 */
#include "block/drivers/qcow2/snapshots.h"

#include "util/big-endian.h"
#include "util/error.h"
#include "util/range.h"

#include <errno.h>

#define ENTRY_FIXED 40
#define EXTRA_KNOWN 24
#define MAX_EXTRA 1024

static int co_read_string(BlockNode *node, int64_t offset, uint16_t len, char **string)
{
    *string = g_malloc0(len + 1);
    return co_qcow2_read_file(node, offset, *string, len);
}

static void take_fixed(Qcow2Snapshot *snapshot, const uint8_t *entry)
{
    snapshot->l1_offset = get_be64(entry);
    snapshot->l1_size = get_be32(entry + 8);
    snapshot->date_sec = get_be32(entry + 16);
    snapshot->date_nsec = get_be32(entry + 20);
    snapshot->vm_clock_ns = get_be64(entry + 24);
    snapshot->vm_state_size = get_be32(entry + 32);
    snapshot->extra_len = get_be32(entry + 36);
}

static void take_extra(Qcow2Snapshot *snapshot, const uint8_t *extra, int64_t disk_size)
{
    uint32_t len = snapshot->extra_len;

    if (len >= 8) {
        snapshot->vm_state_size = get_be64(extra);
    }
    snapshot->disk_size = len >= 16 ? (int64_t)get_be64(extra + 8) : disk_size;
    snapshot->icount = len >= 24 ? get_be64(extra + 16) : UINT64_MAX;
    if (len > EXTRA_KNOWN) {
        snapshot->unknown_extra_len = len - EXTRA_KNOWN;
        snapshot->unknown_extra = g_memdup2(extra + EXTRA_KNOWN, len - EXTRA_KNOWN);
    }
}

static bool check_snapshot(const Qcow2State *s, const Qcow2Snapshot *snapshot, GError **errp)
{
    if (snapshot->extra_len > MAX_EXTRA) {
        return tm_error_set(errp, "Too much extra metadata in snapshot table entry");
    }
    if (snapshot->l1_size > QCOW2_MAX_L1_BYTES / (int64_t)sizeof(uint64_t)) {
        return tm_error_set(errp, "Snapshot L1 table too large");
    }
    if (!range_valid(snapshot->l1_offset, snapshot->l1_size * INT64_C(8), INT64_MAX) ||
        qcow2_in_cluster(s, snapshot->l1_offset)) {
        return tm_error_set(errp, "Snapshot L1 table offset invalid");
    }
    return true;
}

/* Reads the entry at *@offset, which moves behind it. */
static bool co_read_entry(BlockNode *node, Qcow2Snapshot *snapshot, int64_t *offset, GError **errp)
{
    const Qcow2State *s = qcow2_state(node);
    uint8_t entry[ENTRY_FIXED] = { 0 }, extra[MAX_EXTRA];
    int64_t at = *offset;
    int ret = co_qcow2_read_file(node, at, entry, sizeof(entry));

    take_fixed(snapshot, entry);
    if (ret == 0 && !check_snapshot(s, snapshot, errp)) {
        return false;
    }
    at += ENTRY_FIXED;
    if (ret == 0) {
        ret = co_qcow2_read_file(node, at, extra, snapshot->extra_len);
    }
    if (ret == 0) {
        take_extra(snapshot, extra, s->header.size);
        at += snapshot->extra_len;
        ret = co_read_string(node, at, get_be16(entry + 12), &snapshot->id);
        at += get_be16(entry + 12);
    }
    if (ret == 0) {
        ret = co_read_string(node, at, get_be16(entry + 14), &snapshot->name);
        at += get_be16(entry + 14);
    }
    *offset = align_up(at, 8);
    return ret == 0 || tm_error_set_errno(errp, -ret, "Failed to read snapshot table");
}

bool co_qcow2_snapshots_open(BlockNode *node, GError **errp)
{
    Qcow2State *s = qcow2_state(node);
    int64_t offset = s->header.snapshots_offset;

    s->snapshots = g_new0(Qcow2Snapshot, MAX(s->header.snapshots, 1));
    for (uint32_t i = 0; i < s->header.snapshots; i++) {
        if (!co_read_entry(node, &s->snapshots[i], &offset, errp)) {
            g_prefix_error(errp, "Could not read snapshots: ");
            return false;
        }
        s->snapshots_bytes = offset - s->header.snapshots_offset;
        if (s->snapshots_bytes > QCOW2_MAX_SNAPSHOT_TABLE_BYTES) {
            return tm_error_set(errp, "Could not read snapshots: Snapshot table is too large");
        }
    }
    return true;
}

void qcow2_snapshots_close(BlockNode *node)
{
    Qcow2State *s = qcow2_state(node);

    for (uint32_t i = 0; s->snapshots && i < s->header.snapshots; i++) {
        g_free(s->snapshots[i].id);
        g_free(s->snapshots[i].name);
        g_free(s->snapshots[i].unknown_extra);
    }
    g_clear_pointer(&s->snapshots, g_free);
}
