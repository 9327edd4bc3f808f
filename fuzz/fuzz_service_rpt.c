/* A file of counts for reports about TLS, with a right checksum whatever is in it: refused, or taken; what
 * was taken is written and taken again as the same. */
#include "service/agent/rpt.h"

#include "base/crc32c.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CHUNK = 2048, CHUNKS_MAX = 4096, DAYS_MAX = 100, FILE_MAX = 16 * 1024 * 1024 };

/* As much of the role as days need. */
struct small {
    struct agent agent;
    struct rpt rpt;
};

static void begin(struct small *s)
{
    *s = (struct small){.agent = {.seed = 5}, .rpt = {.days_max = DAYS_MAX}};
    s->agent.rpt = &s->rpt;
    s->rpt.agent = &s->agent;
    struct list *const lists[] = {&s->rpt.by_use, &s->rpt.asking, &s->rpt.days, &s->rpt.ready,
                                  &s->rpt.want_id};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        list_init(lists[i]);
    chunk_pool_init(&s->rpt.pool, CHUNK, CHUNKS_MAX);
    must(idmap_init(&s->rpt.days_by_key));
}

static void end(struct small *s)
{
    list_each (l, &s->rpt.days)
        rpt_day_del(list_entry(l, struct rpt_day, link));
    must(s->rpt.n_days == 0 && s->rpt.pool.n_lent == 0);
    idmap_fini(&s->rpt.days_by_key);
    chunk_pool_fini(&s->rpt.pool);
}

static void check_again(struct small *s)
{
    struct small again;
    struct buf first, second;
    buf_init(&first, FILE_MAX);
    buf_init(&second, FILE_MAX);
    begin(&again);
    for (unsigned i = 0; i < RPT_SHARDS; i++) {
        buf_reset(&first);
        buf_reset(&second);
        must(rpt_file_put(&s->agent, i, &first) && rpt_file_take(&again.agent, buf_str(&first)));
        must(rpt_file_put(&again.agent, i, &second) && str_eq(buf_str(&first), buf_str(&second)));
    }
    must(again.rpt.n_days == s->rpt.n_days);
    end(&again);
    buf_fini(&first);
    buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct small s;
    struct buf file;
    begin(&s);
    if (rpt_file_take(&s.agent, str_of(data, size))) /* as it is */
        check_again(&s);
    end(&s);
    buf_init(&file, size + 64);
    begin(&s);
    buf_puts(&file, "waxwing-tls-reports 1\n");
    buf_put(&file, str_of(data, size));
    must(buf_put_u32(&file, crc32c(0, file.p, file.n)));
    if (rpt_file_take(&s.agent, buf_str(&file)))
        check_again(&s);
    end(&s);
    buf_fini(&file);
    return 0;
}
