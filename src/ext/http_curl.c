/* ext/http_curl.c: see the header.
 *
 * The library tells which sockets it wants watched and when it wants to be woken
 * (curl_multi_socket_action()); both are the loop's. It may finish a transfer within any call, so what is
 * finished is collected after each one. The addresses come in by CURLOPT_RESOLVE, as entries that its cache
 * of names forgets by itself.
 */
#include "ext/http_curl.h"

#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "crypto/secret.h"
#include "ext/curl_calls.h"

#include <string.h>

enum {
    URL_MAX = 1024,
    FIELD_MAX = 16 * 1024, /* one of a request's header */
    ADDRESSES_MAX = 8,     /* of one host that are tried */
    RESOLVE_MAX = DNS_NAME_MAX + 16 + ADDRESSES_MAX * 48,
    CONNECT_MS = 20 * 1000,
};

struct transfer {
    struct list link;
    struct http_curl *h;
    CURL *easy;
    struct curl_slist *resolve, *fields;
    struct buf body;
    size_t n_header, size_max;
    bool is_over; /* header or body is too big: we ended it */
    void (*fn)(void *arg, const struct http_answer *a);
    void *arg;
    char why[CURL_ERROR_SIZE];
};
struct http_curl {
    struct http_client client;
    struct io_world *io;
    struct world *world;
    struct curl_calls curl;
    CURLM *multi;
    struct list open;
    size_t n_open;
    struct timer timer;
    struct curl_blob anchors;
    uint16_t port;
};

/* ---- the loop ---------------- */

static void collect(struct http_curl *h);

static void on_ready(void *arg, unsigned ready);

struct watched {
    struct http_curl *h;
    struct io_watch *watch;
    curl_socket_t fd;
};

static void act(struct http_curl *h, curl_socket_t fd, int bits)
{
    int n_running;
    (void)h->curl.multi_socket_action(h->multi, fd, bits, &n_running);
    collect(h);
}

static void on_ready(void *arg, unsigned ready)
{
    const struct watched *w = arg;
    act(w->h, w->fd,
        ((ready & CONN_READABLE) != 0 ? CURL_CSELECT_IN : 0) |
            ((ready & CONN_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0));
}

/* CURL_POLL_REMOVE comes before the library closes the socket. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *kept)
{
    struct http_curl *h = arg;
    struct watched *w = kept;
    UNUSED(easy);
    if (what == CURL_POLL_REMOVE) {
        if (w == NULL)
            return 0;
        io_unwatch(w->watch);
        (void)h->curl.multi_assign(h->multi, fd, NULL);
        mem_free(w);
        return 0;
    }
    unsigned mask = ((what & CURL_POLL_IN) != 0 ? (unsigned)CONN_READABLE : 0) |
                    ((what & CURL_POLL_OUT) != 0 ? (unsigned)CONN_WRITABLE : 0);
    if (w != NULL) {
        io_watch_want(w->watch, mask);
        return 0;
    }
    w = mem_new(struct watched);
    if (w == NULL)
        return -1;
    *w = (struct watched){.h = h, .fd = fd, .watch = io_watch_fd(h->io, fd, mask, on_ready, w)};
    if (w->watch == NULL || h->curl.multi_assign(h->multi, fd, w) != CURLM_OK) {
        if (w->watch != NULL)
            io_unwatch(w->watch);
        mem_free(w);
        return -1;
    }
    return 0;
}

static int on_time_wanted(CURLM *multi, long ms, void *arg)
{
    struct http_curl *h = arg;
    UNUSED(multi);
    if (ms < 0)
        world_timer_cancel(h->world, &h->timer);
    else
        world_timer_set(h->world, &h->timer, world_now_ms(h->world) + (uint64_t)ms);
    return 0;
}

static void on_time(struct timer *t)
{
    act(container_of(t, struct http_curl, timer), CURL_SOCKET_TIMEOUT, 0);
}

/* ---- one transfer ---------------- */

static void transfer_del(struct transfer *t)
{
    struct http_curl *h = t->h;
    if (t->easy != NULL) {
        (void)h->curl.multi_remove_handle(h->multi, t->easy); /* harmless when it is not in there */
        h->curl.easy_cleanup(t->easy);
    }
    h->curl.slist_free_all(t->resolve);
    h->curl.slist_free_all(t->fields);
    buf_fini(&t->body);
    list_remove(&t->link);
    h->n_open--;
    mem_free(t);
}

static enum http_status status_of(const struct transfer *t, CURLcode code)
{
    static const struct {
        CURLcode code;
        enum http_status status;
    } all[] = {
        {CURLE_OK, HTTP_ANSWERED},
        {CURLE_COULDNT_CONNECT, HTTP_UNREACHABLE},
        {CURLE_COULDNT_RESOLVE_HOST, HTTP_UNREACHABLE},
        {CURLE_SEND_ERROR, HTTP_UNREACHABLE},
        {CURLE_RECV_ERROR, HTTP_UNREACHABLE},
        {CURLE_SSL_CONNECT_ERROR, HTTP_INSECURE},
        {CURLE_PEER_FAILED_VERIFICATION, HTTP_INSECURE},
        {CURLE_SSL_CACERT_BADFILE, HTTP_INSECURE},
        {CURLE_SSL_CIPHER, HTTP_INSECURE},
        {CURLE_SSL_CERTPROBLEM, HTTP_INSECURE},
        {CURLE_SSL_ISSUER_ERROR, HTTP_INSECURE},
        {CURLE_OPERATION_TIMEDOUT, HTTP_TIMEOUT},
        {CURLE_FILESIZE_EXCEEDED, HTTP_TOO_BIG},
        {CURLE_OUT_OF_MEMORY, HTTP_FAILED},
        {CURLE_FAILED_INIT, HTTP_FAILED},
    };
    if (t->is_over)
        return HTTP_TOO_BIG;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i].code == code)
            return all[i].status;
    }
    return HTTP_BROKEN;
}

static void tell(struct transfer *t, CURLcode code)
{
    struct http_answer a = {.status = status_of(t, code)};
    long http_code = 0;
    const char *type = NULL;
    (void)t->h->curl.easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &http_code);
    (void)t->h->curl.easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
    if (a.status == HTTP_ANSWERED) {
        a.code = http_code > 0 && http_code < 1000 ? (unsigned)http_code : 0;
        a.type = str_slice(str_from_c(type), 0, HTTP_TYPE_MAX);
        a.body = buf_str(&t->body);
    } else if (t->is_over) {
        a.why = STR("the answer is too long");
    } else {
        a.why = str_from_c(t->why[0] != '\0' ? t->why : t->h->curl.easy_strerror(code));
    }
    t->fn(t->arg, &a);
}

static void collect(struct http_curl *h)
{
    const CURLMsg *m;
    int n_left;
    while ((m = h->curl.multi_info_read(h->multi, &n_left)) != NULL) {
        struct transfer *t = NULL;
        CURLcode code = m->data.result; /* m is gone with the next call */
        if (m->msg != CURLMSG_DONE ||
            h->curl.easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)(void *)&t) != CURLE_OK ||
            t == NULL)
            continue;
        tell(t, code);
        transfer_del(t);
    }
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    n *= size;
    if (t->body.n + n > t->size_max) {
        t->is_over = true;
        return CURL_WRITEFUNC_ERROR;
    }
    return buf_put(&t->body, str_of(p, n)) ? n : CURL_WRITEFUNC_ERROR;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    UNUSED(p);
    n *= size;
    t->n_header += n;
    t->is_over = t->n_header > HTTP_HEADER_MAX;
    return t->is_over ? 0 : n;
}

static uint16_t port_of(const struct transfer *t, const struct http_request *q)
{
    return q->port != 0 ? q->port : t->h->port;
}

/* "+mta-sts.example.org:443:192.0.2.1,[2001:db8::1]": the plus makes it go with time. */
static bool put_resolve(struct transfer *t, const struct http_request *q)
{
    char mem[RESOLVE_MAX];
    struct buf b;
    size_t n = q->n_addresses < ADDRESSES_MAX ? q->n_addresses : ADDRESSES_MAX;
    buf_init_fixed(&b, mem, sizeof mem - 1);
    buf_printf(&b, "+%.*s:%u:", STR_FMT(q->host), (unsigned)port_of(t, q));
    for (size_t i = 0; i < n; i++) {
        bool is_six = q->addresses[i].kind == NETADDR_IP6;
        if (q->addresses[i].kind != NETADDR_IP4 && !is_six)
            return false;
        buf_puts(&b, i > 0 ? "," : "");
        buf_puts(&b, is_six ? "[" : "");
        netaddr_format_ip(&q->addresses[i], &b);
        buf_puts(&b, is_six ? "]" : "");
    }
    if (b.failed || n == 0)
        return false;
    mem[b.n] = '\0';
    t->resolve = t->h->curl.slist_append(NULL, mem);
    return t->resolve != NULL;
}

#define SET(option, value) (t->h->curl.easy_setopt(t->easy, CURLOPT_##option, (value)) == CURLE_OK)

static bool set_trust(struct transfer *t)
{
    static const char none[] = "\n";
    struct curl_blob anchors = t->h->anchors;
    if (anchors.len == 0)
        anchors = (struct curl_blob){(void *)(uintptr_t)none, 1, CURL_BLOB_NOCOPY};
    return SET(SSL_VERIFYPEER, 1L) && SET(SSL_VERIFYHOST, 2L) && SET(SSLVERSION, CURL_SSLVERSION_TLSv1_2) &&
           SET(CAINFO, NULL) && SET(CAPATH, NULL) && SET(CAINFO_BLOB, &anchors) &&
           SET(SSL_SESSIONID_CACHE, 0L);
}

static bool set_limits(struct transfer *t, const struct http_request *q)
{
    long all_ms = (long)q->timeout_ms;
    return SET(PROTOCOLS_STR, "https") && SET(FOLLOWLOCATION, 0L) && SET(DISALLOW_USERNAME_IN_URL, 1L) &&
           SET(PROXY, "") && SET(NETRC, CURL_NETRC_IGNORED) && SET(HTTP_VERSION, CURL_HTTP_VERSION_1_1) &&
           SET(NOSIGNAL, 1L) && SET(FRESH_CONNECT, 1L) && SET(FORBID_REUSE, 1L) && SET(TIMEOUT_MS, all_ms) &&
           SET(CONNECTTIMEOUT_MS, all_ms < CONNECT_MS ? all_ms : (long)CONNECT_MS) &&
           SET(BUFFERSIZE, 16384L) && SET(MAXFILESIZE_LARGE, (curl_off_t)q->size_max);
}

static bool add_field(struct transfer *t, const char *name, struct str value)
{
    struct buf b;
    buf_init(&b, FIELD_MAX);
    buf_printf(&b, "%s: %.*s", name, STR_FMT(value));
    buf_putc(&b, '\0');
    struct curl_slist *more = b.failed || str_has_ctl(value) ? NULL : t->h->curl.slist_append(t->fields, b.p);
    t->fields = more != NULL ? more : t->fields;
    secret_wipe(b.p, b.n);
    buf_fini(&b);
    return more != NULL;
}

/* "Expect: 100-continue", which the library would say before a long body, costs a second at servers that do
 * not know it. */
static bool set_request(struct transfer *t, const struct http_request *q)
{
    if (q->authorization.n > 0 && !add_field(t, "Authorization", q->authorization))
        return false;
    if (q->is_post && !(add_field(t, "Content-Type", q->type) && add_field(t, "Expect", STR_NIL) &&
                        SET(POST, 1L) && SET(POSTFIELDSIZE_LARGE, (curl_off_t)q->body.n) &&
                        SET(COPYPOSTFIELDS, q->body.n > 0 ? q->body.p : "")))
        return false;
    return t->fields == NULL || SET(HTTPHEADER, t->fields);
}

static bool set_up(struct transfer *t, const struct http_request *q)
{
    char url[URL_MAX];
    if (q->host.n > DNS_NAME_MAX || str_has_ctl(q->host) || !str_to_c(q->url, url, sizeof url) ||
        !put_resolve(t, q))
        return false;
    t->easy = t->h->curl.easy_init();
    return t->easy != NULL && SET(URL, url) && SET(PORT, (long)port_of(t, q)) && SET(RESOLVE, t->resolve) &&
           SET(PRIVATE, t) && SET(ERRORBUFFER, t->why) && SET(WRITEFUNCTION, on_body) && SET(WRITEDATA, t) &&
           SET(HEADERFUNCTION, on_header) && SET(HEADERDATA, t) && SET(USERAGENT, "Waxwing") &&
           set_trust(t) && set_limits(t, q) && set_request(t, q);
}

static bool ask(void *self, const struct http_request *q, void (*fn)(void *arg, const struct http_answer *a),
                void *arg)
{
    struct http_curl *h = self;
    struct transfer *t = h->n_open >= HTTP_OPEN_MAX ? NULL : mem_new(struct transfer);
    if (t == NULL)
        return false;
    *t = (struct transfer){.h = h, .fn = fn, .arg = arg, .size_max = q->size_max};
    buf_init(&t->body, q->size_max);
    list_init(&t->link);
    list_push_back(&h->open, &t->link);
    h->n_open++;
    /* it starts with the timer that the library asks for: no answer comes within this call */
    if (set_up(t, q) && h->curl.multi_add_handle(h->multi, t->easy) == CURLM_OK)
        return true;
    transfer_del(t);
    return false;
}

static void trust(void *self, struct str anchors)
{
    struct http_curl *h = self;
    h->anchors = (struct curl_blob){(void *)(uintptr_t)anchors.p, anchors.n, CURL_BLOB_NOCOPY};
}

/* ---- life ---------------- */

struct http_curl *http_curl_new(struct io_world *w)
{
    struct world *world = io_world_base(w);
    struct http_curl *h = mem_new(struct http_curl);
    const char *why = "no memory";
    if (h == NULL)
        return NULL;
    *h = (struct http_curl){.client = {h, ask, trust}, .io = w, .world = world, .port = 443};
    h->timer.fire = on_time;
    list_init(&h->open);
    if (curl_calls_open(&h->curl, &why)) {
        if (h->curl.global_init(CURL_GLOBAL_ALL) == CURLE_OK)
            h->multi = h->curl.multi_init();
    }
    if (h->multi == NULL) {
        log_error(world_log(world), "http.library", LC("why", why));
        if (h->curl.library != NULL)
            h->curl.global_cleanup();
        curl_calls_close(&h->curl);
        mem_free(h);
        return NULL;
    }
    must(h->curl.multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
         h->curl.multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h) == CURLM_OK &&
         h->curl.multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_time_wanted) == CURLM_OK &&
         h->curl.multi_setopt(h->multi, CURLMOPT_TIMERDATA, h) == CURLM_OK);
    return h;
}

void http_curl_set_port(struct http_curl *h, uint16_t port)
{
    h->port = port;
}

void http_curl_del(struct http_curl **hp)
{
    struct http_curl *h = *hp;
    if (h == NULL)
        return;
    list_each (l, &h->open)
        transfer_del(list_entry(l, struct transfer, link));
    (void)h->curl.multi_cleanup(h->multi);
    world_timer_cancel(h->world, &h->timer);
    h->curl.global_cleanup();
    curl_calls_close(&h->curl);
    mem_free(h);
    *hp = NULL;
}

struct http_client *http_curl_client(struct http_curl *h)
{
    return &h->client;
}
