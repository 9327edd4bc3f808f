/* ipc/ctl.h: what an operator may ask the queue (ctl_ask.verb), and how it is asked.
 *
 * ctl_ask: id != 0 names one entry and filter is ignored; else filter chooses (queue/queue_filter.h of the
 * service tells its words; empty: all). n_max: rows or entries at most, 0: CTL_ROWS_DEFAULT. Rows are JSON
 * objects, one a line. The last page of LIST has is_last; of HOLD, RELEASE, DROP and RETRY it holds one row
 * {"matched":n,"done":n,"busy":n}: busy ones are being attempted and are changed when that ends. err:
 * ERR_INVALID with one row {"error":"..."} for a filter that does not parse, ERR_NOTFOUND for an unknown id.
 */
#pragma once

enum ctl_verb {
    CTL_LIST = 0, /* a row an entry: id, state, site, sender, recipients, age, attempts, next, reason */
    CTL_SHOW,     /* id: one row with everything, each recipient with its last answer */
    CTL_RETRY,    /* due now; the site's back-off ends */
    CTL_HOLD,
    CTL_RELEASE,
    CTL_DROP,    /* without a report to the sender */
    CTL_STATS,   /* a row with totals, then a row a site, those with most waiting first */
    CTL_SUSPEND, /* filter (site, source, sender, rcpt, domain, tag, kind): nothing that matches is attempted
                    until it is resumed, also after a restart; new mail is accepted. One row
                    {"changed":n,"rules":n} when it is on disk */
    CTL_RESUME,  /* filter as it was given to SUSPEND; empty: all. Row as above */
    CTL_SUSPENDED,  /* a row {"filter":"..."} a rule */
    CTL_SUPPRESSED, /* filter: an address, or a pattern with *; empty: all. A row an address that gets no mail
                       of lists, the oldest first: address, since, until, reason, why */
    CTL_UNSUPPRESS, /* filter likewise: these get it again. One row {"changed":n,"addresses":n} when it is on
                       disk */
    CTL_SUPPRESS,   /* filter: an address, and behind a space why. Row as above */
};
enum { CTL_VERBS = 13, CTL_ROWS_DEFAULT = 1000, CTL_ROWS_MAX = 100000 };
