/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The primitives of the generated parsers. Only generated code uses them.
 *
 * A frame is an object or array being read; frames are linked from the inside out, so that an error
 * can name the path to a value ("actions[0].data.node"). A value is told by the frame it is in
 * (@at) and its
 * @name there (NULL in an array: the frame knows the index; NULL at the root). The texts of errors,
 * and which of them give the path and which only the name, are those of qemu-storage-daemon 10.0.
 */
#ifndef QMP_SCHEMA_SCHEMA_READ_H
#define QMP_SCHEMA_SCHEMA_READ_H

#include "qmp-schema/schema-input.h"

/* Objects inside objects: a bound on the stack that a parser takes, which runs in a coroutine. */
#define SCHEMA_MAX_DEPTH 200

typedef struct SchemaFrame SchemaFrame;
struct SchemaFrame {
    const SchemaFrame
        *up;          /* NULL for the root, which holds the whole value and is no object itself */
    const char *name; /* in @up */
    const json_t *value; /* object or array */
    const SchemaInput *in;
    guint depth;      /* how many frames are around it */
    guint index;      /* array: of the element being read */
    GPtrArray *taken; /* object: names of the members read so far (borrowed) */
};

/* Reads one element or pointer member; a new value, or NULL with an error. */
typedef void *SchemaReadFn(const SchemaFrame *at, const char *name, const json_t *v, GError **errp);

/* Makes @frame the object @v. A NULL @v is an empty object. */
bool schema_enter_object(SchemaFrame *frame, const SchemaFrame *at, const char *name,
                         const json_t *v, GError **errp);

/* Fails when the object has a member that was not taken. */
bool schema_leave_object(const SchemaFrame *frame, GError **errp);

void schema_frame_clear(SchemaFrame *frame);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SchemaFrame, schema_frame_clear)

/* The member @name (borrowed), or NULL; schema_take() sets an error when it is missing. */
const json_t *schema_take(SchemaFrame *frame, const char *name, GError **errp);
const json_t *schema_take_optional(SchemaFrame *frame, const char *name);

/* The text of @v in keyval mode, or NULL with an error when it is no string. */
const char *schema_keyval_text(const SchemaFrame *at, const char *name, const json_t *v,
                               GError **errp);

/* Sets an error that has the path to @name in place of its one %s. */
bool schema_fail_at(const SchemaFrame *at, const char *name, GError **errp, const char *format);

SchemaReadFn schema_read_string;

bool schema_read_bool(const SchemaFrame *at, const char *name, const json_t *v, bool *out,
                      GError **errp);
bool schema_read_number(const SchemaFrame *at, const char *name, const json_t *v, double *out,
                        GError **errp);
bool schema_read_int64(const SchemaFrame *at, const char *name, const json_t *v, int64_t *out,
                       GError **errp);
bool schema_read_int32(const SchemaFrame *at, const char *name, const json_t *v, int32_t *out,
                       GError **errp);
bool schema_read_uint64(const SchemaFrame *at, const char *name, const json_t *v, uint64_t *out,
                        GError **errp);
bool schema_read_uint32(const SchemaFrame *at, const char *name, const json_t *v, uint32_t *out,
                        GError **errp);
bool schema_read_uint16(const SchemaFrame *at, const char *name, const json_t *v, uint16_t *out,
                        GError **errp);
bool schema_read_size(const SchemaFrame *at, const char *name, const json_t *v, uint64_t *out,
                      GError **errp);
#define schema_read_int schema_read_int64

/* The value of an enum, or -1 with an error. */
int schema_read_enum(const SchemaFrame *at, const char *name, const json_t *v,
                     const SchemaEnum *lookup, GError **errp);

/* A list of pointers that @free frees. */
GPtrArray *schema_read_list(const SchemaFrame *at, const char *name, const json_t *v,
                            SchemaReadFn *read, GDestroyNotify free, GError **errp);

/* A list of enum values; the GArray's elements are ints. */
GArray *schema_read_enum_list(const SchemaFrame *at, const char *name, const json_t *v,
                              const SchemaEnum *lookup, GError **errp);

/* Sets the error of a value that fits no branch of the alternate @type. */
void schema_refuse_alternate(const char *name, const char *type, GError **errp);

/* For a command without arguments: fails when @args (NULL, or an object) has a member. */
bool schema_refuse_arguments(const json_t *args, GError **errp);

#endif
