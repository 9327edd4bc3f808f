/* prog/cmd_dev.h: the parts of `waxwing dev`, the server that catches all mail of a developer's machine.
 *
 * A place is the folder of one such server: `mail` with a Maildir for each address, `spool`, `journal`,
 * `control`, `submit`, and `waxwing-dev`, which the running server holds locked. Root only makes it: whoever
 * works there has become the user it belongs to.
 */
#pragma once
#include "base/buf.h"
#include "prog/cmd_dev_box.h"

#include <jansson.h>
#include <limits.h>

struct dev_place {
    char dir[PATH_MAX]; /* absolute */
    int fd;
    int mail;        /* its folder of Maildirs; -1: there is none yet */
    bool is_default; /* --dir need not be said */
};
enum dev_view { VIEW_WHOLE = 0, VIEW_RAW, VIEW_TEXT, VIEW_HTML, VIEW_HEADERS, VIEW_PART };
struct dev_args {
    const char *dir;
    const char *host;
    uint64_t port;
    bool json, yes;
    enum dev_view view;
    const char *part;
    const char *which; /* N, an id, or "latest" */
    const char *to;    /* wait: a recipient */
    uint64_t after;    /* wait: only messages of higher numbers */
    uint64_t timeout_s;
};

/* Exit codes of sysexits(3); what went wrong was said. */
int dev_place_make(const char *option,
                   struct dev_place *out); /* for the server, and no longer root from here on */
int dev_place_open(const char *option, struct dev_place *out); /* for those who look */
/* Who holds the place is said. The lock is kept until the process ends. */
int dev_place_lock(const struct dev_place *p, const char *at);

int dev_run(const struct dev_args *a);
int dev_list(const struct dev_args *a);
int dev_show(const struct dev_args *a);
int dev_clear(const struct dev_args *a);
int dev_wait(const struct dev_args *a);

/* The box of the place; false: said. */
bool dev_scan(const struct dev_place *p, struct box *out);
/* A message as a row: number, id, time, from, to, size, subject. NULL: it is gone, or can't be read (said).
 */
json_t *dev_row(const struct dev_place *p, const struct box *b, size_t index);
void dev_print_row(json_t *row, bool json);
/* Appends the file; ERR_TOO_BIG over max unless is_cut_ok, then what fits is there. */
enum err dev_read(const struct dev_place *p, const struct box_copy *copy, size_t max, bool is_cut_ok,
                  struct buf *out);
/* Text that is no UTF-8 never gets into JSON. */
json_t *dev_json_text(struct str s);
/* Character sets that the C library knows. */
extern const struct charset_more dev_charsets;

/* News of the place's mail: a descriptor that becomes readable when something may have come. -1: said. */
int dev_watch_new(void);
/* Watches every folder there is, those that came since, too. false: the kernel watches no more. */
bool dev_watch_all(int watch, const struct dev_place *p);
void dev_watch_drain(int watch);
