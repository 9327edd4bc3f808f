/* base/log.h: one structured line an event: `level event key=value ...`, or the same as JSON. Values are
 * typed, text values are quoted and escaped: remote text can't forge a line or a field. No globals: a struct
 * log belongs to a world.
 */
#pragma once
#include "base/buf.h"

enum log_level { LOG_DEBUG = 0, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_kind { LOG_FIELD_END = 0, LOG_FIELD_STR, LOG_FIELD_UINT, LOG_FIELD_INT, LOG_FIELD_ID };

struct log_field {
    enum log_kind kind;
    const char *key; /* static text */
    struct str s;
    uint64_t u;
    int64_t i;
};
#define LS(k, v) ((struct log_field){.kind = LOG_FIELD_STR, .key = (k), .s = (v)})
#define LC(k, v) ((struct log_field){.kind = LOG_FIELD_STR, .key = (k), .s = str_from_c(v)})
#define LU(k, v) ((struct log_field){.kind = LOG_FIELD_UINT, .key = (k), .u = (v)})
#define LI(k, v) ((struct log_field){.kind = LOG_FIELD_INT, .key = (k), .i = (v)})
#define LID(k, v) ((struct log_field){.kind = LOG_FIELD_ID, .key = (k), .u = (v)}) /* a queue id */
#define LERR(v) LC("error", err_str(v))

struct log {
    enum log_level min;
    bool json;
    const char *role;                          /* static text, may be NULL */
    void (*write)(void *arg, struct str line); /* line ends in \n */
    void *arg;
};

/* fields ends with a LOG_FIELD_END row. Lines are cut at 4 KiB. event is static text such as "queue.opened".
 */
void log_write(const struct log *l, enum log_level level, const char *event, const struct log_field *fields);
#define log_debug(l, ev, ...) log_write((l), LOG_DEBUG, (ev), (const struct log_field[]){__VA_ARGS__, {0}})
#define log_info(l, ev, ...) log_write((l), LOG_INFO, (ev), (const struct log_field[]){__VA_ARGS__, {0}})
#define log_warn(l, ev, ...) log_write((l), LOG_WARN, (ev), (const struct log_field[]){__VA_ARGS__, {0}})
#define log_error(l, ev, ...) log_write((l), LOG_ERROR, (ev), (const struct log_field[]){__VA_ARGS__, {0}})

/* Appends s in double quotes with JSON escapes; bytes that are not UTF-8 become \u00XX. */
void log_quote(struct buf *b, struct str s);
