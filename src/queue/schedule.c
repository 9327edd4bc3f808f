#include "queue/schedule.h"

#include "base/mem.h"

#include <string.h>

_Static_assert(sizeof(struct schedule_entry) <= 64, "a million entries have a budget");

/* ---- sites: which list they stand in
 * ------------------------------------------------------------------------------- */

static uint32_t window_of(const struct schedule_site *site)
{
    return site->block_ms > 0 ? 1 : site->window; /* blocked: one probe */
}

static size_t n_entries(const struct schedule_site *site)
{
    return site->n_waiting + site->n_active + site->n_held + site->n_aside;
}

/* ---- priority ---- */

static unsigned class_of(const struct schedule_entry *e)
{
    int p = schedule_priority(e), zero = 2;
    int c = p < 0 ? zero - (1 - p) / 2 : zero + (1 + p) / 2;
    return c < 0 ? 0 : c >= SCHEDULE_CLASSES ? SCHEDULE_CLASSES - 1 : (unsigned)c;
}

/* When the first entry of the site is due; UINT64_MAX: none waits. */
static uint64_t first_due(const struct schedule_site *site)
{
    uint64_t first = UINT64_MAX;
    for (unsigned c = 0; c < SCHEDULE_CLASSES; c++) {
        const struct heap_node *n = heap_min(&site->due[c]);
        if (n != NULL && n->key < first)
            first = n->key;
    }
    return first;
}

/* The entry that goes next, of those that are due. */
static struct schedule_entry *best_due(const struct schedule_site *site, uint64_t now_ms)
{
    struct heap_node *best = NULL;
    uint64_t best_rank = UINT64_MAX;
    for (unsigned above = 0; above < SCHEDULE_CLASSES; above++) { /* the highest class first: it wins a tie */
        struct heap_node *n = heap_min(&site->due[SCHEDULE_CLASSES - 1 - above]);
        if (n == NULL || n->key > now_ms)
            continue;
        uint64_t rank = n->key + (uint64_t)above * SCHEDULE_CLASS_MS;
        if (rank < best_rank) {
            best = n;
            best_rank = rank;
        }
    }
    must(best != NULL);
    return container_of(best, struct schedule_entry, due);
}

static void site_free(struct schedule *s, struct schedule_site *site)
{
    must(n_entries(site) == 0 && site->state == SITE_IDLE && !site->is_remembered);
    (void)idmap_remove(&s->sites, site->by_hash.id);
    list_remove(&site->all);
    s->n_sites--;
    mem_free(site->why);
    mem_free(site->name);
    mem_free(site);
}

static void set_state(struct schedule *s, struct schedule_site *site, enum schedule_site_state to,
                      uint64_t wake_ms)
{
    if (site->state == SITE_SLEEPING)
        heap_remove(&s->sleeping, &site->wake);
    else if (site->state == SITE_READY)
        list_remove(&site->link);
    site->state = to;
    if (to == SITE_SLEEPING)
        heap_insert(&s->sleeping, &site->wake, wake_ms);
    else if (to == SITE_READY)
        list_push_back(&s->ready, &site->link);
}

/* Puts the site where its entries, window and block say. A READY site that stays ready keeps its turn. */
static void place(struct schedule *s, struct schedule_site *site, uint64_t now_ms)
{
    enum schedule_site_state to = SITE_IDLE;
    uint64_t wake_ms = 0;
    if (site->n_waiting > 0) {
        wake_ms = first_due(site);
        if (site->block_ms > 0 && site->blocked_until_ms > wake_ms)
            wake_ms = site->blocked_until_ms;
        if (site->n_active >= window_of(site))
            to = SITE_FULL;
        else
            to = wake_ms <= now_ms ? SITE_READY : SITE_SLEEPING;
    }
    if (to == site->state && (to != SITE_SLEEPING || site->wake.key == wake_ms))
        return;
    set_state(s, site, to, wake_ms);
}

/* Keeps what was learnt of a site for a while after its last entry is gone. */
static void remember(struct schedule *s, struct schedule_site *site)
{
    bool is_empty = n_entries(site) == 0;
    if (is_empty == site->is_remembered)
        return;
    site->is_remembered = is_empty;
    if (!is_empty) {
        list_remove(&site->link);
        s->n_idle--;
        return;
    }
    must(site->state == SITE_IDLE);
    list_push_back(&s->idle, &site->link);
    if (++s->n_idle <= SCHEDULE_IDLE_SITES_MAX)
        return;
    struct schedule_site *oldest = list_entry(s->idle.next, struct schedule_site, link);
    list_remove(&oldest->link);
    s->n_idle--;
    oldest->is_remembered = false;
    site_free(s, oldest);
}

uint64_t schedule_site_hash(struct str name)
{
    uint64_t h = str_ihash(name, 0);
    return h == 0 ? 1 : h;
}

static void limit_window(const struct schedule *s, struct schedule_site *site)
{
    site->window_max = site->is_local ? s->conf.local_max : s->conf.site_max;
    if (site->window_max == 0)
        site->window_max = 1;
    if (site->is_local || site->window > site->window_max)
        site->window = site->window_max;
}

struct schedule_site *schedule_site_by_hash(struct schedule *s, uint64_t hash)
{
    struct idmap_node *n = idmap_find(&s->sites, hash);
    if (n != NULL)
        return container_of(n, struct schedule_site, by_hash);
    struct schedule_site *site = mem_new(struct schedule_site);
    if (site == NULL)
        return NULL;
    site->window = SCHEDULE_SITE_START;
    limit_window(s, site);
    list_init(&site->link);
    idmap_insert(&s->sites, &site->by_hash, hash);
    list_push_back(&s->all_sites, &site->all);
    s->n_sites++;
    remember(s, site); /* until its first entry comes */
    return site;
}

void schedule_site_learn(struct schedule *s, struct schedule_site *site, struct str name)
{
    UNUSED(s);
    if (site->name_n > 0 || schedule_site_hash(name) != site->by_hash.id)
        return;
    name = str_slice(name, 0, SCHEDULE_SITE_TEXT_MAX);
    site->name = mem_alloc(name.n + 1);
    if (site->name == NULL)
        return; /* it goes on without one */
    memcpy(site->name, name.p, name.n);
    site->name_n = (uint8_t)name.n;
}

struct schedule_site *schedule_site(struct schedule *s, struct str name, bool is_local)
{
    struct schedule_site *site = schedule_site_by_hash(s, schedule_site_hash(name));
    if (site == NULL)
        return NULL;
    if (site->name_n == 0)
        schedule_site_learn(s, site, name);
    if (site->is_local != is_local) {
        site->is_local = is_local;
        limit_window(s, site);
    }
    return site;
}

bool schedule_site_is_blocked(const struct schedule_site *site, uint64_t now_ms)
{
    return site->block_ms > 0 && site->blocked_until_ms > now_ms;
}

void schedule_site_unblock(struct schedule *s, struct schedule_site *site, uint64_t now_ms)
{
    site->blocked_until_ms = now_ms;
    place(s, site, now_ms);
}

/* ---- entries ---- */

bool schedule_init(struct schedule *s, const struct schedule_conf *conf)
{
    *s = (struct schedule){.conf = *conf};
    list_init(&s->ready);
    list_init(&s->idle);
    list_init(&s->all_sites);
    s->pages = mem_alloc_array(SCHEDULE_PAGES_MAX, sizeof *s->pages);
    return s->pages != NULL && idmap_init(&s->sites);
}

void schedule_fini(struct schedule *s)
{
    list_each (l, &s->all_sites) {
        struct schedule_site *site = list_entry(l, struct schedule_site, all);
        mem_free(site->why);
        mem_free(site->name);
        mem_free(site);
    }
    idmap_fini(&s->sites);
    for (size_t i = 0; i < s->n_pages; i++)
        mem_free(s->pages[i]);
    mem_free(s->pages);
    *s = (struct schedule){0};
}

void schedule_reconfigure(struct schedule *s, const struct schedule_conf *conf, uint64_t now_ms)
{
    s->conf = *conf;
    list_each (l, &s->all_sites) {
        struct schedule_site *site = list_entry(l, struct schedule_site, all);
        limit_window(s, site);
        place(s, site, now_ms);
    }
}

static struct schedule_entry *alloc_entry(struct schedule *s)
{
    struct schedule_entry *e = s->free;
    if (e != NULL) {
        s->free = e->work;
        return e;
    }
    if (s->n_fresh == 0) {
        if (s->n_pages == SCHEDULE_PAGES_MAX)
            return NULL;
        s->pages[s->n_pages] = mem_alloc_array(SCHEDULE_PAGE, sizeof *e);
        if (s->pages[s->n_pages] == NULL)
            return NULL;
        s->n_pages++;
        s->n_fresh = SCHEDULE_PAGE;
    }
    return &s->pages[s->n_pages - 1][SCHEDULE_PAGE - s->n_fresh--];
}

static void set_entry_state(struct schedule *s, struct schedule_entry *e, enum schedule_entry_state to)
{
    static const bool allowed[ENTRY_STATE_N][ENTRY_STATE_N] = {
        [ENTRY_FREE] = {[ENTRY_ASIDE] = true},
        [ENTRY_ASIDE] = {[ENTRY_WAITING] = true, [ENTRY_HELD] = true, [ENTRY_FREE] = true},
        [ENTRY_WAITING] = {[ENTRY_ACTIVE] = true, [ENTRY_ASIDE] = true},
        [ENTRY_ACTIVE] = {[ENTRY_ASIDE] = true},
        [ENTRY_HELD] = {[ENTRY_ASIDE] = true},
    };
    must(allowed[e->state][to]);
    s->n_by_state[e->state]--;
    s->n_by_state[to]++;
    e->state = (unsigned)to & 7u;
    if (to == ENTRY_ASIDE || to == ENTRY_ACTIVE) {
        list_init(&e->link);
        e->work = NULL;
    }
}

struct schedule_entry *schedule_add(struct schedule *s, uint64_t id, uint32_t created_s, int priority)
{
    must(priority >= MT_PRIORITY_MIN && priority <= MT_PRIORITY_MAX);
    struct schedule_entry *e = alloc_entry(s);
    if (e == NULL)
        return NULL;
    *e = (struct schedule_entry){
        .id = id, .created_s = created_s, .level = (unsigned)(priority - MT_PRIORITY_MIN) & 31u};
    s->n_by_state[ENTRY_FREE]++;
    set_entry_state(s, e, ENTRY_ASIDE);
    s->n_entries++;
    return e;
}

struct schedule_entry *schedule_find(const struct schedule *s, uint64_t id)
{
    size_t cursor = 0, n_slots = SIZE_MAX;
    struct schedule_entry *e;
    while ((e = schedule_walk(s, &cursor, &n_slots)) != NULL && e->id != id) {
    }
    return e;
}

void schedule_set_site(struct schedule *s, struct schedule_entry *e, struct schedule_site *site)
{
    must(e->state == ENTRY_ASIDE);
    struct schedule_site *old = e->site;
    if (old == site)
        return;
    e->site = site;
    if (site != NULL) {
        site->n_aside++;
        remember(s, site);
    }
    if (old != NULL) {
        old->n_aside--;
        remember(s, old);
    }
}

void schedule_wait(struct schedule *s, struct schedule_entry *e, uint64_t due_ms, uint64_t now_ms)
{
    must(e->site != NULL && list_is_empty(&e->link));
    set_entry_state(s, e, ENTRY_WAITING);
    e->site->n_aside--;
    heap_insert(&e->site->due[class_of(e)], &e->due, due_ms);
    e->site->n_waiting++;
    place(s, e->site, now_ms);
}

static void leave_heap(struct schedule *s, struct schedule_entry *e, enum schedule_entry_state to)
{
    heap_remove(&e->site->due[class_of(e)], &e->due);
    e->site->n_waiting--;
    set_entry_state(s, e, to);
}

void schedule_take(struct schedule *s, struct schedule_entry *e, uint64_t now_ms)
{
    if (e->state == ENTRY_WAITING) {
        leave_heap(s, e, ENTRY_ASIDE);
        e->site->n_aside++;
        place(s, e->site, now_ms);
        return;
    }
    must(e->state == ENTRY_HELD);
    set_entry_state(s, e, ENTRY_ASIDE);
    if (e->site != NULL) {
        e->site->n_held--;
        e->site->n_aside++;
    }
}

void schedule_hold(struct schedule *s, struct schedule_entry *e, uint64_t now_ms)
{
    if (e->state == ENTRY_WAITING)
        schedule_take(s, e, now_ms);
    must(list_is_empty(&e->link));
    set_entry_state(s, e, ENTRY_HELD);
    if (e->site != NULL) {
        e->site->n_aside--;
        e->site->n_held++;
    }
}

void schedule_remove(struct schedule *s, struct schedule_entry *e)
{
    must(list_is_empty(&e->link));
    schedule_set_site(s, e, NULL);
    s->n_entries--;
    set_entry_state(s, e, ENTRY_FREE);
    s->n_by_state[ENTRY_FREE]--;
    e->work = s->free;
    s->free = e;
}

struct schedule_entry *schedule_next(struct schedule *s, uint64_t now_ms)
{
    struct heap_node *n;
    while ((n = heap_min(&s->sleeping)) != NULL && n->key <= now_ms)
        place(s, container_of(n, struct schedule_site, wake), now_ms);
    if (s->n_by_state[ENTRY_ACTIVE] >= s->conf.active_max || list_is_empty(&s->ready))
        return NULL;
    struct schedule_site *site = list_entry(s->ready.next, struct schedule_site, link);
    struct schedule_entry *e = best_due(site, now_ms);
    leave_heap(s, e, ENTRY_ACTIVE);
    site->n_active++;
    place(s, site, now_ms);
    if (site->state == SITE_READY) { /* the others' turn */
        list_remove(&site->link);
        list_push_back(&s->ready, &site->link);
    }
    return e;
}

uint64_t schedule_due(const struct schedule *s)
{
    if (s->n_by_state[ENTRY_ACTIVE] >= s->conf.active_max)
        return UINT64_MAX;
    if (!list_is_empty(&s->ready))
        return 0;
    struct heap_node *n = heap_min(&s->sleeping);
    return n == NULL ? UINT64_MAX : n->key;
}

/* ---- outcomes
 * -------------------------------------------------------------------------------------------------------- */

/* base scaled by a uniform factor within +-pct percent. */
static uint64_t jitter(uint64_t base, uint32_t pct, uint64_t random)
{
    if (pct > 100)
        pct = 100;
    uint64_t span = base / 100 * pct;
    return base - span + (span == 0 ? 0 : random % (2 * span + 1));
}

uint64_t schedule_retry_ms(const struct schedule_conf *conf, uint32_t n_attempts, uint64_t random)
{
    uint64_t wait = (uint64_t)conf->retry_first_s * 1000;
    uint64_t most = (uint64_t)conf->retry_max_s * 1000;
    for (uint32_t i = 1; i < n_attempts && wait < most; i++)
        wait *= 2;
    return jitter(wait < most ? wait : most, conf->retry_jitter_pct, random);
}

bool schedule_is_expired(uint32_t created_s, int64_t wall_ms, uint32_t expire_s)
{
    return wall_ms / 1000 - (int64_t)created_s >= (int64_t)expire_s;
}

uint64_t schedule_entry_due(const struct schedule_entry *e)
{
    return e->state == ENTRY_WAITING ? e->due.key : 0;
}

struct schedule_entry *schedule_site_some(const struct schedule_site *site)
{
    for (unsigned c = 0; c < SCHEDULE_CLASSES; c++) {
        struct heap_node *n = heap_min(&site->due[c]);
        if (n != NULL)
            return container_of(n, struct schedule_entry, due);
    }
    return NULL;
}

static void keep_why(struct schedule_site *site, struct str why)
{
    if (site->why == NULL)
        site->why = mem_alloc(SCHEDULE_WHY_MAX);
    if (site->why == NULL)
        return;
    why = str_slice(why, 0, SCHEDULE_WHY_MAX - 1);
    memcpy(site->why, why.n > 0 ? why.p : "", why.n);
    site->why[why.n] = '\0';
}

static void on_worked(struct schedule_site *site, uint64_t now_ms)
{
    site->n_done++;
    site->last_success_ms = now_ms;
    site->block_ms = 0;
    site->blocked_until_ms = 0;
    if (site->window < site->window_max)
        site->window++;
}

static void on_down(struct schedule_site *site, struct str why, uint64_t random, uint64_t now_ms)
{
    site->n_failures++;
    keep_why(site, why);
    if (site->blocked_until_ms > now_ms)
        return; /* deliveries that began before the block: one failure is enough */
    bool is_alive = site->block_ms == 0 && site->last_success_ms > 0 &&
                    now_ms - site->last_success_ms < SCHEDULE_ALIVE_MS;
    if (site->window > 1)
        site->window /= 2;
    if (is_alive)
        return;
    uint64_t step = site->block_ms == 0 ? SCHEDULE_BLOCK_FIRST_MS : (uint64_t)site->block_ms * 2;
    if (step > SCHEDULE_BLOCK_MAX_MS)
        step = SCHEDULE_BLOCK_MAX_MS;
    site->block_ms = (uint32_t)step;
    site->blocked_until_ms = now_ms + jitter(step, 20, random);
}

void schedule_finish(struct schedule *s, struct schedule_entry *e, enum schedule_outcome outcome,
                     struct str why, uint64_t random, uint64_t now_ms)
{
    struct schedule_site *site = e->site;
    set_entry_state(s, e, ENTRY_ASIDE);
    site->n_active--;
    site->n_aside++;
    switch (outcome) {
    case SCHEDULE_WORKED:
        on_worked(site, now_ms);
        break;
    case SCHEDULE_SITE_DOWN:
        on_down(site, why, random, now_ms);
        break;
    case SCHEDULE_NEUTRAL:
        break;
    }
    place(s, site, now_ms);
}

/* ---- walks ---- */

size_t schedule_slots(const struct schedule *s)
{
    return s->n_pages * SCHEDULE_PAGE - s->n_fresh;
}

struct schedule_entry *schedule_walk(const struct schedule *s, size_t *cursor, size_t *n_slots)
{
    size_t end = schedule_slots(s);
    while (*cursor<end && * n_slots> 0) {
        struct schedule_entry *e = &s->pages[*cursor / SCHEDULE_PAGE][*cursor % SCHEDULE_PAGE];
        ++*cursor;
        --*n_slots;
        if (e->state != ENTRY_FREE)
            return e;
    }
    return NULL;
}

static void check_site(const struct schedule *s, const struct schedule_site *site)
{
    size_t n_waiting = 0;
    for (unsigned c = 0; c < SCHEDULE_CLASSES; c++)
        n_waiting += site->due[c].n;
    must(n_waiting == site->n_waiting && (site->state == SITE_IDLE) == (n_waiting == 0));
    must(site->is_remembered ? n_entries(site) == 0 : true);
    must(site->window >= 1 && site->window <= site->window_max);
    must(site->state != SITE_FULL || site->n_active >= window_of(site));
    must(site->state != SITE_READY || site->n_active < window_of(site));
    must(idmap_find(&s->sites, site->by_hash.id) == &site->by_hash);
}

void schedule_invariants(const struct schedule *s)
{
    size_t n_sites = 0, n[ENTRY_STATE_N] = {0}, by_site = 0;
    list_each (l, &s->all_sites) {
        const struct schedule_site *site = list_entry(l, struct schedule_site, all);
        check_site(s, site);
        n_sites++;
        by_site += n_entries(site);
    }
    must(n_sites == s->n_sites && n_sites == s->sites.n);
    size_t cursor = 0, slots = SIZE_MAX, with_site = 0;
    struct schedule_entry *e;
    while ((e = schedule_walk(s, &cursor, &slots)) != NULL) {
        n[e->state]++;
        with_site += e->site != NULL;
        must(schedule_is_entry(e, e->id));
    }
    for (size_t i = 1; i < ENTRY_STATE_N; i++)
        must(n[i] == s->n_by_state[i]);
    must(with_site == by_site &&
         s->n_entries == n[ENTRY_ASIDE] + n[ENTRY_WAITING] + n[ENTRY_ACTIVE] + n[ENTRY_HELD]);
}
