/* service/relay/relay_dane.c: what DNSSEC says of the host that a job tries: DANE's questions, and its
 * verdict (verify/dane.h).
 *
 * The addresses of a host come first, and with them whether they were validated; then all that the verdict
 * still wants is asked at once. Nothing is kept from one host to the next: lookup has a cache. What could not
 * be asked, or is more than memory holds, counts as an answer that failed: the host has to wait then (RFC
 * 7672 2.1.1).
 */
#include "service/relay/relay.h"

#include "base/mem.h"

enum { FAILED_TEXT_MAX = 256, LINE_MAX = 2048 };

struct asked { /* a question to lookup */
    struct idmap_node by_token;
    struct job *job;
    enum dns_type type;
    unsigned slot;
    bool is_open;
};
struct records { /* found at one base; facts.tlsa points into it */
    struct buf octets;
    struct str *rdata;
};
struct relay_dane {
    struct dane_facts facts;
    struct dane_verdict verdict;
    struct asked asked[DANE_BASES];
    struct records records[DANE_BASES];
    char canonical[DNS_NAME_MAX + 1];
    char failed[FAILED_TEXT_MAX]; /* what lookup said of the first question that failed */
};

static void note_failure(struct relay_dane *d, struct str why)
{
    if (d->failed[0] == '\0')
        (void)str_to_c(str_slice(why, 0, sizeof d->failed - 1), d->failed, sizeof d->failed);
}

/* ---- answers ---- */

static bool keep_records(struct records *to, struct str list, size_t n)
{
    struct reader r;
    buf_init(&to->octets, list.n);
    to->rdata = mem_alloc_array(n, sizeof *to->rdata);
    if (to->rdata == NULL || !buf_put(&to->octets, list))
        return false;
    r = reader_of(buf_str(&to->octets));
    for (size_t i = 0; i < n; i++)
        must(list_next_str(&r, &to->rdata[i]));
    return true;
}

static enum dane_status status_of(const struct ipc_rr_answer *m)
{
    if (m->status == DNS_STATUS_OK)
        return DANE_FOUND;
    return m->status == DNS_STATUS_NXDOMAIN || m->status == DNS_STATUS_NODATA ? DANE_ABSENT : DANE_FAILED;
}

static void take(struct relay_dane *d, const struct asked *a, const struct ipc_rr_answer *m)
{
    struct dane_answer *to = a->type == DNS_CNAME ? &d->facts.cname : &d->facts.tlsa[a->slot];
    size_t n = list_count_str(m->rdata);
    *to = (struct dane_answer){.status = status_of(m), .is_secure = m->is_secure != 0};
    if (to->status == DANE_FAILED) {
        note_failure(d, m->why);
    } else if (to->status == DANE_FOUND && (n == 0 || n == STR_NPOS)) {
        to->status = DANE_FAILED;
        note_failure(d, STR("the answer makes no sense"));
    } else if (to->status == DANE_FOUND && a->type == DNS_TLSA) {
        struct records *r = &d->records[a->slot];
        if (keep_records(r, m->rdata, n)) {
            to->rdata = r->rdata;
            to->n_rdata = n;
        } else {
            to->status = DANE_FAILED;
            note_failure(d, STR("no memory"));
        }
    }
}

/* ---- questions ---- */

static bool ask(struct job *j, const struct dane_question *q)
{
    struct relay *r = j->relay;
    struct asked *a = &j->dane->asked[q->slot];
    struct ipc_rr_ask m = {
        .token = r->next_question, .type = (uint16_t)q->type, .name = str_of(q->name, q->n)};
    if (r->lookup == NULL || ipc_send_rr_ask(r->lookup, &m, NULL) != ERR_OK)
        return false;
    *a = (struct asked){.job = j, .type = q->type, .slot = q->slot, .is_open = true};
    idmap_insert(&r->dane_questions, &a->by_token, r->next_question++);
    return true;
}

/* The verdict, or more questions: true. Each question is asked once, so this ends. */
static bool judge(struct job *j)
{
    struct relay_dane *d = j->dane;
    bool is_open = false;
    do {
        dane_judge(&d->facts, &d->verdict);
        for (size_t i = 0; i < d->verdict.n_questions; i++) {
            const struct dane_question *q = &d->verdict.questions[i];
            struct dane_answer *to = q->type == DNS_CNAME ? &d->facts.cname : &d->facts.tlsa[q->slot];
            if (ask(j, q)) {
                is_open = true;
                continue;
            }
            to->status = DANE_FAILED;
            note_failure(d, STR("the name server process is not there"));
        }
    } while (d->verdict.result == DANE_ASK && !is_open);
    return is_open;
}

bool relay_dane_begin(struct job *j, const struct ipc_host_answer *m)
{
    const struct hop *h = &j->hops[j->hop];
    must(j->dane == NULL);
    if (j->tls == HOP_TLS_NONE)
        return false;
    struct relay_dane *d = mem_new(struct relay_dane);
    if (d == NULL) {
        job_note(j, SMTP_AT_CONNECT, 0, ESC(4, 3, 0), "", STR("memory budget used up"));
        j->address = j->n_addresses; /* not to a host whose records we don't know */
        return false;
    }
    j->dane = d;
    if (!str_to_c(m->canonical, d->canonical, sizeof d->canonical))
        d->canonical[0] = '\0';
    d->facts = (struct dane_facts){
        .next_hop = j->next_hop.n > 0 ? j->next_hop : h->name,
        .next_hop_canonical = j->canonical,
        .mx = j->mx,
        .host = h->name,
        .port = h->port,
        .address = {.status = DANE_FOUND, .is_secure = m->is_secure != 0},
        .canonical = str_from_c(d->canonical),
    };
    return judge(j);
}

void relay_dane_on_answer(struct relay *r, const struct ipc_rr_answer *m)
{
    struct idmap_node *n = idmap_remove(&r->dane_questions, m->token);
    if (n == NULL) /* the job is gone, or has gone on */
        return;
    struct asked *a = container_of(n, struct asked, by_token);
    struct job *j = a->job;
    a->is_open = false;
    take(j->dane, a, m);
    if (!relay_dane_is_asking(j) && !judge(j))
        job_next_address(j);
}

bool relay_dane_is_asking(const struct job *j)
{
    bool is_open = false;
    for (size_t i = 0; j->dane != NULL && i < DANE_BASES; i++)
        is_open |= j->dane->asked[i].is_open;
    return is_open;
}

const struct dane_verdict *relay_dane_verdict(const struct job *j)
{
    return j->dane == NULL ? NULL : &j->dane->verdict;
}

void relay_dane_why(const struct job *j, struct buf *out)
{
    if (j->dane == NULL)
        return;
    (void)buf_puts(out, dane_why_text(j->dane->verdict.why));
    if (j->dane->failed[0] != '\0')
        (void)buf_printf(out, ": %s", j->dane->failed);
}

static int compare(const struct dane_record *a, const struct dane_record *b)
{
    return a->usage != b->usage         ? a->usage - b->usage
           : a->selector != b->selector ? a->selector - b->selector
           : a->matching != b->matching ? a->matching - b->matching
                                        : str_cmp(a->data, b->data);
}

static size_t found_records(const struct relay_dane *d, struct dane_record *out)
{
    size_t n = 0;
    for (size_t i = 0; d->verdict.result == DANE_USABLE && i < d->verdict.n_records; i++)
        out[n++] = d->verdict.records[i];
    for (size_t slot = 0; d->verdict.result != DANE_USABLE && slot < DANE_BASES; slot++) {
        const struct dane_answer *a = &d->facts.tlsa[slot];
        for (size_t i = 0; a->status == DANE_FOUND && a->is_secure && i < a->n_rdata; i++) {
            if (n < DANE_RECORDS_MAX && dane_parse(a->rdata[i], &out[n]))
                n++;
        }
    }
    return n;
}

/* Name servers give records in any order: sorted, so that the same ones are the same text each time. */
void relay_dane_lines(const struct job *j, struct buf *out)
{
    struct dane_record all[DANE_RECORDS_MAX];
    char mem[LINE_MAX];
    struct buf line;
    size_t n = j->dane == NULL ? 0 : found_records(j->dane, all);
    for (size_t i = 1; i < n; i++) {
        for (size_t k = i; k > 0 && compare(&all[k - 1], &all[k]) > 0; k--) {
            struct dane_record t = all[k];
            all[k] = all[k - 1];
            all[k - 1] = t;
        }
    }
    for (size_t i = 0; i < n; i++) {
        buf_init_fixed(&line, mem, sizeof mem);
        dane_format(&all[i], &line);
        if (!line.failed && out->max - out->n >= line.n + sizeof(uint32_t))
            (void)list_put_str(out, buf_str(&line));
    }
}

void relay_dane_drop(struct job *j)
{
    struct relay_dane *d = j->dane;
    if (d == NULL)
        return;
    for (size_t i = 0; i < DANE_BASES; i++) {
        if (d->asked[i].is_open)
            (void)idmap_remove(&j->relay->dane_questions, d->asked[i].by_token.id);
        buf_fini(&d->records[i].octets);
        mem_free(d->records[i].rdata);
    }
    mem_free(d);
    j->dane = NULL;
}
