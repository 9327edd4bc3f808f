/* ipc/events.h: the kinds of ipc_event: what a journal line says. The words are what `why` prints and
 * searches. */
#pragma once
#include "base/must.h"

/* kind, word, what the fields hold. class: a word of wire/codes.h: what a refusal is about */
#define EVENT_KINDS(X)                                                                                       \
    X(ACCEPTED, "accepted")   /* smtpd: id; rcpt=sender, host=client, text=helo and login, number=octets;    \
                               * agent: likewise, text=what it is */                                         \
    X(RCPT, "recipient")      /* smtpd, agent: id, rcpt */                                                   \
    X(REFUSED, "refused")     /* smtpd: id 0 or the id; rcpt, host=client, text=our reply */                 \
    X(ROUTED, "routed")       /* queue: id, rcpt=recipient or empty for all, host=site */                    \
    X(SPLIT, "split")         /* queue: id=parent, other_id=child, host=site */                              \
    X(EXPANDED, "expanded")   /* queue: id, rcpt=the alias, text=how many and through what */                \
    X(CONVERTED, "converted") /* relay: id, host, text=which part became what, and what it breaks */         \
    X(TRANSPORT, "transport") /* relay: id, host, text=TLS and its proof, number=0 none 1 TLS 2 verified */  \
    X(REPORTED, "reported")   /* queue: id, other_id=the report, rcpt, text=delayed, relayed, ... */         \
    X(SUPPRESSED, "suppressed") /* queue: id, rcpt, text=why the address gets no mail, class */              \
    X(ATTEMPT, "attempt")       /* queue: id, host=site, number=attempt */                                   \
    X(DELIVERED, "delivered")   /* queue: id, rcpt, host, text=remote reply */                               \
    X(DEFERRED, "deferred")     /* queue: id, rcpt, host, text, class, number=next attempt, unix ms */       \
    X(FAILED, "failed")         /* queue: id, rcpt, host, text, class */                                     \
    X(EXPIRED, "expired")       /* queue: id, rcpt, host, text=last reason, class */                         \
    X(BOUNCED, "bounced")       /* queue: id, other_id=the report, rcpt=its recipient */                     \
    X(RETURNED,                                                                                              \
      "returned") /* queue: id, rcpt=member, host=owner of the list, text=what a report says, class */       \
    X(COMPLAINED,                                                                                            \
      "complained") /* queue: id, rcpt=whose complaint or empty, host=their server's source, text */         \
    X(NOT_BOUNCED, "not-bounced") /* queue: id: null sender, nobody to tell; text */                         \
    X(HELD, "held")               /* queue: id, text=by whom */                                              \
    X(RELEASED, "released")       /* queue: id */                                                            \
    X(DROPPED, "dropped")         /* queue: id, text=by whom */                                              \
    X(DONE, "done")               /* queue: id: the last recipient is settled, the body may go */            \
    X(TROUBLE, "trouble")         /* any: text: a failure of ours, such as a full disk */                    \
    X(SUSPENDED, "suspended")     /* queue: text=the filter: what matches is not attempted */                \
    X(RESUMED, "resumed")         /* queue: text=the filter */                                               \
    X(LISTED, "listed")     /* queue: id=what taught it or 0, rcpt, text: no list mail to it from now */     \
    X(UNLISTED, "unlisted") /* queue: id or 0, rcpt or empty for all, text: why it gets list mail again */

enum event_kind {
    EVENT_NONE = 0,
#define X(NAME, word) EVENT_##NAME,
    EVENT_KINDS(X)
#undef X
};
const char *event_word(unsigned kind); /* "unknown" for others */
