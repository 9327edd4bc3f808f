/* service/queue/queue_rows.h: the answers to operators: JSON objects, one a line, every text escaped. */
#pragma once
#include "queue/envelope.h"
#include "queue/schedule.h"
#include "queue/suppressed.h"

struct row_facts {
    uint64_t id, body_size;
    const struct schedule_entry *entry;
    int64_t wall_ms;
    uint64_t now_ms;
    uint32_t expire_s;
    bool is_suspended;
};
enum { ROW_MAX = 16 * 1024, ROW_SHOW_MAX = 96 * 1024, ROW_RCPTS_MAX = 20 };

/* A row of `list`: at most ROW_RCPTS_MAX recipients. */
void row_entry(struct buf *out, const struct row_facts *f, const struct envelope *e,
               const struct envelope_state *st);
/* The row of `show`: every recipient with its last answer, as many as fit into ROW_SHOW_MAX. */
void row_show(struct buf *out, const struct row_facts *f, const struct envelope *e,
              const struct envelope_state *st);
void row_site(struct buf *out, const struct schedule_site *site, uint64_t now_ms);
void row_error(struct buf *out, struct str text);
void row_suppressed(struct buf *out, const struct suppressed *s, int64_t until_ms);
void row_rule(struct buf *out, struct str filter);
void row_number(struct buf *out, const char *key,
                uint64_t v); /* "key":v, with a comma in front unless first */
void row_begin(struct buf *out);
void row_end(struct buf *out);
