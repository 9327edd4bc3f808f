/* bench/load.c: puts mail into a server as fast as it takes it, over many sessions from one process.
 *
 * load HOST PORT SESSIONS MESSAGES SIZE keep|new [FROM RCPT]
 * The dialogue is that of smtp-source: one command at a time, no pipelining. Prints one line: seconds,
 * messages a second, CPU microseconds a message of this client, and percentiles of the time from the final
 * dot to its reply.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum step { GREETING, HELLO, MAIL, RCPT, DATA, DOT, QUIT };
struct session {
    int fd;
    enum step step;
    char in[1024];
    size_t in_n;
    size_t sent; /* octets of the body sent so far */
    double dot_at;
};
static struct {
    struct sockaddr_in to;
    long n_messages, n_started, n_done, n_failed;
    bool keep;
    char *body;
    size_t body_n;
    char mail[600], rcpt[600];
    int epoll;
    float *latencies;
} all;

static double now(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void dial(struct session *s)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = s};
    int one = 1;
    *s = (struct session){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    if (s->fd == -1 || connect(s->fd, (struct sockaddr *)&all.to, sizeof all.to) == -1)
        die("connect");
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fcntl(s->fd, F_SETFL, O_NONBLOCK) == -1 || epoll_ctl(all.epoll, EPOLL_CTL_ADD, s->fd, &ev) == -1)
        die("epoll");
}

static void say(struct session *s, const char *text, enum step next)
{
    size_t n = strlen(text);
    if (send(s->fd, text, n, MSG_NOSIGNAL) != (ssize_t)n)
        die("send");
    s->step = next;
}

static void send_body(struct session *s)
{
    while (s->sent < all.body_n) {
        ssize_t n = send(s->fd, all.body + s->sent, all.body_n - s->sent, MSG_NOSIGNAL);
        if (n == -1 && errno == EAGAIN) {
            struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.ptr = s};
            (void)epoll_ctl(all.epoll, EPOLL_CTL_MOD, s->fd, &ev);
            return;
        }
        if (n == -1)
            die("send body");
        s->sent += (size_t)n;
    }
    s->dot_at = now();
}

static bool start_message(struct session *s)
{
    if (all.n_started >= all.n_messages) {
        say(s, "QUIT\r\n", QUIT);
        return false;
    }
    all.n_started++;
    say(s, all.mail, MAIL);
    return true;
}

static void expect(const struct session *s, char first)
{
    if (s->in[0] == first)
        return;
    fprintf(stderr, "the server said: %.*s\n", (int)s->in_n, s->in);
    exit(1);
}

static void on_reply(struct session *s)
{
    switch (s->step) {
    case GREETING:
        expect(s, '2');
        say(s, "EHLO load.bench.test\r\n", HELLO);
        break;
    case HELLO:
        expect(s, '2');
        (void)start_message(s);
        break;
    case MAIL:
        expect(s, '2');
        say(s, all.rcpt, RCPT);
        break;
    case RCPT:
        expect(s, '2');
        say(s, "DATA\r\n", DATA);
        break;
    case DATA:
        expect(s, '3');
        s->step = DOT;
        s->sent = 0;
        send_body(s);
        break;
    case DOT:
        if (s->in[0] != '2')
            all.n_failed++;
        all.latencies[all.n_done++] = (float)(now() - s->dot_at);
        if (all.keep)
            (void)start_message(s);
        else
            say(s, "QUIT\r\n", QUIT);
        break;
    case QUIT:
        break;
    }
}

/* A whole reply is in: its last line has a space after the code. */
static bool has_reply(const struct session *s)
{
    if (s->in_n < 5 || s->in[s->in_n - 1] != '\n')
        return false;
    size_t at = s->in_n - 1;
    while (at > 0 && s->in[at - 1] != '\n')
        at--;
    return s->in_n - at > 4 && s->in[at + 3] == ' ';
}

static long on_event(struct session *s, uint32_t events)
{
    if ((events & EPOLLOUT) != 0) {
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = s};
        (void)epoll_ctl(all.epoll, EPOLL_CTL_MOD, s->fd, &ev);
        send_body(s);
        return 0;
    }
    ssize_t n = recv(s->fd, s->in + s->in_n, sizeof s->in - s->in_n, 0);
    if (n == -1 && errno == EAGAIN)
        return 0;
    if (n <= 0 || (s->step == QUIT && n > 0)) {
        if (s->step != QUIT)
            die("the server closed the connection");
        (void)close(s->fd);
        if (all.n_started < all.n_messages) {
            dial(s);
            return 0;
        }
        return 1;
    }
    s->in_n += (size_t)n;
    if (has_reply(s)) {
        on_reply(s);
        s->in_n = 0;
    } else if (s->in_n == sizeof s->in) {
        die("reply too long");
    }
    return 0;
}

static void make_body(size_t size, const char *from, const char *to)
{
    all.body = malloc(size + 1024);
    if (all.body == NULL)
        die("malloc");
    int n = sprintf(
        all.body,
        "From: <%s>\r\nTo: <%s>\r\nDate: Tue, 24 Nov 2026 00:00:00 +0000\r\nMessage-Id: <load@bench>\r\n\r\n",
        from, to);
    all.body_n = (size_t)n;
    while (all.body_n + 5 < size) {
        size_t line = size - all.body_n - 5 < 80 ? size - all.body_n - 5 : 80;
        memset(all.body + all.body_n, 'X', line);
        if (line >= 2)
            memcpy(all.body + all.body_n + line - 2, "\r\n", 2);
        all.body_n += line;
    }
    memcpy(all.body + all.body_n, "\r\n.\r\n", 5);
    all.body_n += 5;
    snprintf(all.mail, sizeof all.mail, "MAIL FROM:<%s>\r\n", from);
    snprintf(all.rcpt, sizeof all.rcpt, "RCPT TO:<%s>\r\n", to);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static void report(double seconds, int sessions, size_t size)
{
    struct rusage ru;
    (void)getrusage(RUSAGE_SELF, &ru);
    double cpu = (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
                 (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
    size_t n = (size_t)all.n_done;
    qsort(all.latencies, n, sizeof *all.latencies, by_value);
    printf("sessions=%d conn=%s messages=%ld size=%zu failed=%ld seconds=%.3f per_second=%.0f "
           "client_cpu_us=%.1f "
           "p50_ms=%.3f p99_ms=%.3f max_ms=%.3f\n",
           sessions, all.keep ? "keep" : "new", all.n_done, size, all.n_failed, seconds,
           (double)all.n_done / seconds, cpu / (double)all.n_done * 1e6, 1e3 * (double)all.latencies[n / 2],
           1e3 * (double)all.latencies[n * 99 / 100], 1e3 * (double)all.latencies[n - 1]);
}

int main(int argc, char **argv)
{
    if (argc < 7) {
        fputs("usage: load HOST PORT SESSIONS MESSAGES SIZE keep|new [FROM RCPT]\n", stderr);
        return 64;
    }
    int sessions = atoi(argv[3]);
    all.n_messages = atol(argv[4]);
    all.keep = strcmp(argv[6], "keep") == 0;
    all.to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    if (inet_pton(AF_INET, argv[1], &all.to.sin_addr) != 1 || sessions < 1 || all.n_messages < sessions)
        die("arguments");
    make_body((size_t)atol(argv[5]), argc > 7 ? argv[7] : "a@from.test", argc > 8 ? argv[8] : "b@to.test");
    all.latencies = calloc((size_t)all.n_messages, sizeof *all.latencies);
    struct session *s = calloc((size_t)sessions, sizeof *s);
    all.epoll = epoll_create1(0);
    if (all.latencies == NULL || s == NULL || all.epoll == -1)
        die("start");
    double begin = now();
    for (int i = 0; i < sessions; i++)
        dial(&s[i]);
    for (long n_open = sessions; n_open > 0;) {
        struct epoll_event ev[256];
        int n = epoll_wait(all.epoll, ev, 256, 60000);
        if (n <= 0)
            die("nothing for a minute");
        for (int i = 0; i < n; i++)
            n_open -= on_event(ev[i].data.ptr, ev[i].events);
    }
    report(now() - begin, sessions, (size_t)atol(argv[5]));
    return all.n_failed > 0;
}
