/* wire/codes_table.h: what codes and texts mean, for codes.c only. Texts are those that the servers named
 * beside them are known to send.
 *
 * A text is looked for anywhere in the reply, which was folded: small letters, one space for any number of
 * spaces and line ends, "@" for each address. In a pattern * is anything, _ is the edge of a word. The first
 * that fits counts, so the special stand before the general.
 */
#pragma once
#include "wire/codes.h"

struct code_status {
    uint8_t class; /* 4, 5; 0: either */
    uint16_t subject, detail, last_detail;
    bool is_vague; /* the text says more */
    enum code_class is;
};
struct code_text {
    uint8_t class; /* 4, 5: only replies 4yz, 5yz */
    enum code_class is;
    const char *pattern;
};

/* clang-format off */
/* IANA "SMTP Enhanced Status Codes", and 5.x.y of Exchange Online from 5.1.10 on. */
static const struct code_status code_statuses[] = {
    {5, 1, 1, 1, false, CODE_UNKNOWN_USER},       {4, 1, 1, 1, true, CODE_UNKNOWN_USER},
    {0, 1, 2, 2, false, CODE_DOMAIN_UNKNOWN},
    {0, 1, 3, 3, false, CODE_BAD_ADDRESS},        {0, 1, 4, 4, true, CODE_UNKNOWN_USER},
    {0, 1, 6, 6, false, CODE_MOVED},              {0, 1, 7, 8, true, CODE_SENDER_REFUSED},
    {0, 1, 9, 9, true, CODE_PROTOCOL},            {0, 1, 10, 10, true, CODE_DOMAIN_UNKNOWN},
    {0, 1, 351, 351, false, CODE_UNKNOWN_USER},
    {0, 2, 1, 1, true, CODE_MAILBOX_DISABLED},    {0, 2, 2, 2, false, CODE_MAILBOX_FULL},
    {0, 2, 3, 3, false, CODE_TOO_BIG},            {0, 2, 4, 4, true, CODE_RESTRICTED},
    {0, 2, 121, 122, false, CODE_RATE_LIMITED},
    {0, 3, 1, 2, true, CODE_SERVER_TROUBLE},      {0, 3, 3, 3, true, CODE_CONTENT},
    {0, 3, 4, 4, false, CODE_TOO_BIG},            {0, 3, 5, 5, true, CODE_SERVER_TROUBLE},
    {0, 3, 6, 6, true, CODE_SERVER_TROUBLE},
    {0, 4, 1, 3, true, CODE_NETWORK},             {0, 4, 4, 4, true, CODE_DOMAIN_UNKNOWN},
    {0, 4, 5, 5, true, CODE_RATE_LIMITED},        {0, 4, 6, 6, false, CODE_LOOP},
    {0, 4, 7, 7, true, CODE_EXPIRED},             {0, 4, 8, 8, false, CODE_LOOP},
    {0, 4, 14, 14, false, CODE_LOOP},
    {0, 4, 310, 310, true, CODE_DOMAIN_UNKNOWN},  {0, 4, 312, 312, true, CODE_DOMAIN_UNKNOWN},
    {0, 4, 316, 317, true, CODE_NETWORK},
    {0, 5, 1, 2, true, CODE_PROTOCOL},            {0, 5, 3, 3, false, CODE_RATE_LIMITED},
    {0, 5, 4, 6, true, CODE_PROTOCOL},
    {0, 6, 1, 10, true, CODE_CONTENT},
    {0, 7, 2, 2, true, CODE_RESTRICTED},          {0, 7, 3, 3, true, CODE_CONTENT},
    {0, 7, 4, 5, true, CODE_TLS},                 {0, 7, 6, 7, true, CODE_CONTENT},
    {0, 7, 8, 8, true, CODE_AUTH_REQUIRED},       {0, 7, 9, 9, true, CODE_POLICY},
    {0, 7, 10, 10, false, CODE_TLS},              {0, 7, 11, 14, true, CODE_AUTH_REQUIRED},
    {0, 7, 17, 19, true, CODE_MAILBOX_DISABLED}, /* RFC 7293: the owner has changed */
    {0, 7, 20, 24, false, CODE_AUTHENTICATION},   {0, 7, 25, 25, false, CODE_HOST_NAME},
    {0, 7, 26, 26, false, CODE_AUTHENTICATION},   {0, 7, 27, 27, true, CODE_SENDER_REFUSED},
    {0, 7, 28, 28, false, CODE_RATE_LIMITED},     {0, 7, 29, 29, true, CODE_AUTHENTICATION},
    {0, 7, 30, 30, true, CODE_TLS},
    {0, 7, 51, 51, true, CODE_RESTRICTED},        {0, 7, 57, 57, true, CODE_AUTH_REQUIRED},
    {0, 7, 60, 60, true, CODE_SENDER_REFUSED},    {0, 7, 64, 64, true, CODE_RELAY_DENIED},
    {0, 7, 124, 124, false, CODE_RESTRICTED},     {0, 7, 129, 129, false, CODE_RESTRICTED},
    {0, 7, 133, 136, false, CODE_RESTRICTED},     {0, 7, 193, 193, false, CODE_RESTRICTED},
    {0, 7, 501, 503, true, CODE_SENDER_REFUSED},  {0, 7, 509, 509, false, CODE_AUTHENTICATION},
    {0, 7, 511, 511, true, CODE_BLOCKED_IP},      {0, 7, 515, 515, false, CODE_AUTHENTICATION},
    {0, 7, 520, 520, true, CODE_POLICY},          {5, 7, 606, 649, false, CODE_BLOCKED_IP},
    {4, 7, 650, 652, false, CODE_RATE_LIMITED},   {0, 7, 700, 705, true, CODE_RATE_LIMITED},
    {0, 7, 708, 708, false, CODE_BLOCKED_IP},     {0, 7, 750, 750, false, CODE_SENDER_REFUSED},
};

/* They leave no doubt, whatever number a server puts before them. */
static const struct code_text code_first_texts[] = {
    {4, CODE_GREYLISTED, "greylist"}, {4, CODE_GREYLISTED, "graylist"},
    {4, CODE_GREYLISTED, "grey list"}, {4, CODE_GREYLISTED, "grey-list"},
    {5, CODE_UNKNOWN_USER, "recipientnotfound"}, /* Exchange: 5.1.10 RESOLVER.ADR... */
    {0, CODE_RESTRICTED, "resolver.rst."},       /* Exchange */
    {0, CODE_LOOP, "too many hops"}, {0, CODE_LOOP, "hop count exceeded"},
    {5, CODE_MAILBOX_FULL, "over quota"}, {5, CODE_MAILBOX_FULL, "mailbox is full"},
    {5, CODE_MAILBOX_FULL, "mailbox full"},
};

static const struct code_text code_texts[] = {
    /* how fast: before the texts on reputation, which these also name */
    {0, CODE_RATE_LIMITED, "temporarily rate limited"},               /* Outlook, Gmail */
    {0, CODE_RATE_LIMITED, "unusual rate of unsolicited mail"},       /* Gmail */
    {0, CODE_RATE_LIMITED, "receiving mail too quickly"},             /* Gmail */
    {0, CODE_RATE_LIMITED, "receiving mail at a rate"},               /* Gmail */
    {4, CODE_RATE_LIMITED, "temporarily deferred due to"},            /* Yahoo TSS04 */
    {0, CODE_RATE_LIMITED, "rate limit"}, {0, CODE_RATE_LIMITED, "ratelimit"},
    {0, CODE_RATE_LIMITED, "throttl"},
    {0, CODE_RATE_LIMITED, "too many * connections"}, {0, CODE_RATE_LIMITED, "too many connections"},
    {0, CODE_RATE_LIMITED, "too many concurrent"}, {0, CODE_RATE_LIMITED, "too many simultaneous"},
    {0, CODE_RATE_LIMITED, "too many sessions"}, {0, CODE_RATE_LIMITED, "too many messages"},
    {0, CODE_RATE_LIMITED, "too many mails"}, {0, CODE_RATE_LIMITED, "too many recipients"},
    {0, CODE_RATE_LIMITED, "too many emails"}, {0, CODE_RATE_LIMITED, "too much mail"},
    {0, CODE_RATE_LIMITED, "too many requests"}, {0, CODE_RATE_LIMITED, "too many errors from your ip"},
    {0, CODE_RATE_LIMITED, "maximum*connections"}, {0, CODE_RATE_LIMITED, "connection limit exceeded"},
    {0, CODE_RATE_LIMITED, "exceed*messages per"}, {0, CODE_RATE_LIMITED, "sending limit"},
    {0, CODE_RATE_LIMITED, "recipient limit"}, {4, CODE_RATE_LIMITED, "slow down"},
    {0, CODE_RATE_LIMITED, "daily * limit"}, {0, CODE_RATE_LIMITED, "hourly limit"},
    /* what leads to us: lists, reputation */
    {0, CODE_BLOCKED_IP, "permanently deferred"},                     /* Yahoo TSS09 */
    {0, CODE_BLOCKED_IP, "on our block list"},                        /* Outlook S3140 */
    {0, CODE_BLOCKED_IP, "banned sending ip"},                        /* Exchange Online */
    {0, CODE_BLOCKED_IP, "low reputation"},                           /* Gmail */
    {0, CODE_SPAM, "surbl"}, {0, CODE_SPAM, "uribl"},
    {0, CODE_BLOCKED_IP, "reputation"},
    {0, CODE_BLOCKED_IP, "spamhaus"}, {0, CODE_BLOCKED_IP, "spamcop"}, {0, CODE_BLOCKED_IP, "barracuda"},
    {0, CODE_BLOCKED_IP, "uceprotect"}, {0, CODE_BLOCKED_IP, "sorbs"}, {0, CODE_BLOCKED_IP, "abusix"},
    {0, CODE_BLOCKED_IP, "senderscore"}, {0, CODE_BLOCKED_IP, "sender score"},
    {0, CODE_BLOCKED_IP, "cloudmark"}, {0, CODE_BLOCKED_IP, "invaluement"}, {0, CODE_BLOCKED_IP, "mailspike"},
    {0, CODE_BLOCKED_IP, "dnsbl"}, {0, CODE_BLOCKED_IP, "_rbl"}, {0, CODE_BLOCKED_IP, "blocked using"},
    {0, CODE_SPAM, "url*black"}, {0, CODE_SPAM, "link*black"}, {0, CODE_SPAM, "url*block"},
    {0, CODE_BLOCKED_IP, "blacklist"}, {0, CODE_BLOCKED_IP, "black list"}, {0, CODE_BLOCKED_IP, "blocklist"},
    {0, CODE_BLOCKED_IP, "block list"}, {0, CODE_BLOCKED_IP, "denylist"}, {0, CODE_BLOCKED_IP, "block-list"},
    {0, CODE_BLOCKED_IP, "ip * blocked"}, {0, CODE_BLOCKED_IP, "ip * banned"},
    {0, CODE_BLOCKED_IP, "ip address * blocked"}, {0, CODE_BLOCKED_IP, "blocked*your ip"},
    {0, CODE_BLOCKED_IP, "not accepted from this ip"}, {0, CODE_BLOCKED_IP, "bad ip"},
    {0, CODE_BLOCKED_IP, "dynamic ip"}, {0, CODE_BLOCKED_IP, "dial-up"}, {0, CODE_BLOCKED_IP, "dialup"},
    {0, CODE_BLOCKED_IP, "residential ip"}, {0, CODE_BLOCKED_IP, "listed at"}, {0, CODE_BLOCKED_IP, "listed by"},
    {0, CODE_BLOCKED_IP, "client host * blocked"}, {0, CODE_BLOCKED_IP, "no access from mail server"},
    {5, CODE_BLOCKED_IP, "bad dns ptr resource record*ip"},           /* GMX, web.de: dynamic names */
    /* names of our server */
    {0, CODE_HOST_NAME, "reverse dns"}, {0, CODE_HOST_NAME, "reverse lookup"}, {0, CODE_HOST_NAME, "rdns"},
    {0, CODE_HOST_NAME, "reverse hostname"}, {0, CODE_HOST_NAME, "reverse address"},
    {0, CODE_HOST_NAME, "_ptr_"}, {0, CODE_HOST_NAME, "cannot find your hostname"}, /* Postfix */
    {0, CODE_HOST_NAME, "helo command rejected"},                     /* Postfix */
    {0, CODE_HOST_NAME, "invalid helo"}, {0, CODE_HOST_NAME, "bad helo"}, {0, CODE_HOST_NAME, "helo name"},
    {0, CODE_HOST_NAME, "invalid ehlo"}, {0, CODE_HOST_NAME, "helo/ehlo"},
    /* SPF, DKIM, DMARC */
    {0, CODE_AUTHENTICATION, "dmarc"}, {0, CODE_AUTHENTICATION, "_spf_"}, {0, CODE_AUTHENTICATION, "dkim"},
    {0, CODE_AUTHENTICATION, "unauthenticated email"}, {0, CODE_AUTHENTICATION, "unauthenticated mail"},
    {0, CODE_AUTHENTICATION, "sender policy framework"}, {0, CODE_AUTHENTICATION, "authentication level"},
    {0, CODE_AUTHENTICATION, "lack of authentication"}, {0, CODE_AUTHENTICATION, "email authentication"},
    {0, CODE_AUTHENTICATION, "authentication checks"},
    /* who may write to whom */
    {0, CODE_RESTRICTED, "only accepts mail from"}, {0, CODE_RESTRICTED, "members only"},
    {0, CODE_RESTRICTED, "only * members"}, {0, CODE_RESTRICTED, "not allowed to send to"},
    {0, CODE_RESTRICTED, "not authorized to send to"}, {0, CODE_RESTRICTED, "not permitted to send to"},
    {0, CODE_RESTRICTED, "permission to send to"},                    /* Exchange 5.7.124, 5.7.133 */
    {0, CODE_RESTRICTED, "restricted to"}, {0, CODE_RESTRICTED, "not allowed to post"},
    {0, CODE_RESTRICTED, "delivery restriction"}, {0, CODE_RESTRICTED, "sender not authenticated for recipient"},
    {0, CODE_RESTRICTED, "wish to receive"}, {0, CODE_RESTRICTED, "refused by recipient"},
    {0, CODE_RESTRICTED, "blocked by recipient"}, {0, CODE_RESTRICTED, "blocked by the recipient"},
    {0, CODE_AUTH_REQUIRED, "client was not authenticated"},          /* Exchange 5.7.57 */
    {0, CODE_AUTH_REQUIRED, "authentication required"}, {0, CODE_AUTH_REQUIRED, "authentication is required"},
    {0, CODE_AUTH_REQUIRED, "must authenticate"}, {0, CODE_AUTH_REQUIRED, "requires authentication"},
    {0, CODE_AUTH_REQUIRED, "authentication failed"}, {0, CODE_AUTH_REQUIRED, "authentication credentials"},
    {0, CODE_AUTH_REQUIRED, "not logged in"}, {0, CODE_AUTH_REQUIRED, "must check for new mail"},
    {0, CODE_AUTH_REQUIRED, "authenticate first"}, {0, CODE_AUTH_REQUIRED, "username and password"},
    /* whom the server takes mail for */
    {0, CODE_RELAY_DENIED, "relay access denied"},                    /* Postfix, Exchange Online */
    {0, CODE_RELAY_DENIED, "relaying denied"},                        /* sendmail */
    {0, CODE_RELAY_DENIED, "relay not permitted"},                    /* Exim */
    {0, CODE_RELAY_DENIED, "unable to relay"},                        /* Exchange */
    {0, CODE_RELAY_DENIED, "rcpthosts"},                              /* qmail */
    {0, CODE_RELAY_DENIED, "not permitted to relay"}, {0, CODE_RELAY_DENIED, "relay denied"},
    {0, CODE_RELAY_DENIED, "relaying not"}, {0, CODE_RELAY_DENIED, "not relay"},
    {0, CODE_RELAY_DENIED, "cannot relay"}, {0, CODE_RELAY_DENIED, "relaying is"},
    {0, CODE_RELAY_DENIED, "relaying to"}, {0, CODE_RELAY_DENIED, "relaying prohibited"},
    {0, CODE_RELAY_DENIED, "open relay"}, {0, CODE_RELAY_DENIED, "not local domain"},
    /* our envelope sender: before the texts on the recipient's domain */
    {0, CODE_SENDER_REFUSED, "sender address rejected"},              /* Postfix */
    {0, CODE_SENDER_REFUSED, "sender verify failed"},                 /* Exim */
    {0, CODE_SENDER_REFUSED, "could not complete sender verify"},     /* Exim */
    {0, CODE_SENDER_REFUSED, "domain of sender"},                     /* sendmail */
    {0, CODE_SENDER_REFUSED, "as this sender"},                       /* Exchange SendAsDenied */
    {0, CODE_SENDER_REFUSED, "access denied, banned sender"}, {0, CODE_SENDER_REFUSED, "sender rejected"},
    {0, CODE_SENDER_REFUSED, "sender denied"}, {0, CODE_SENDER_REFUSED, "sender refused"},
    {0, CODE_SENDER_REFUSED, "sender blocked"}, {0, CODE_SENDER_REFUSED, "invalid sender"},
    {0, CODE_SENDER_REFUSED, "bad sender"}, {0, CODE_SENDER_REFUSED, "sender domain"},
    {0, CODE_SENDER_REFUSED, "sender is not"}, {0, CODE_SENDER_REFUSED, "sender's domain"},
    {0, CODE_SENDER_REFUSED, "sender unknown"}, {0, CODE_SENDER_REFUSED, "unknown sender"},
    {0, CODE_SENDER_REFUSED, "sender address"}, {0, CODE_SENDER_REFUSED, "callback verification"},
    {0, CODE_SENDER_REFUSED, "verify sender"}, {0, CODE_SENDER_REFUSED, "return address"},
    /* the mailbox has no room */
    {0, CODE_MAILBOX_FULL, "out of storage space"},                   /* Gmail */
    {0, CODE_MAILBOX_FULL, "over quota"}, {0, CODE_MAILBOX_FULL, "overquota"},
    {0, CODE_MAILBOX_FULL, "quota exceeded"}, {0, CODE_MAILBOX_FULL, "exceed*quota"},
    {0, CODE_MAILBOX_FULL, "mailbox full"}, {0, CODE_MAILBOX_FULL, "mailbox is full"},
    {0, CODE_MAILBOX_FULL, "mailbox * full"}, {0, CODE_MAILBOX_FULL, "mailfolder is full"},
    {0, CODE_MAILBOX_FULL, "inbox is full"}, {0, CODE_MAILBOX_FULL, "inbox full"},
    {0, CODE_MAILBOX_FULL, "quota full"}, {0, CODE_MAILBOX_FULL, "exceeded storage"},
    {0, CODE_MAILBOX_FULL, "mailbox size limit"}, {0, CODE_MAILBOX_FULL, "mailbox*exceed"},
    {0, CODE_MAILBOX_FULL, "exceed*mailbox"}, {0, CODE_MAILBOX_FULL, "disk quota"},
    {0, CODE_MAILBOX_FULL, "not enough storage"}, {0, CODE_MAILBOX_FULL, "exceeded its storage"},
    {0, CODE_MAILBOX_FULL, "not enough space"}, {0, CODE_MAILBOX_FULL, "no space left in mailbox"},
    /* it is closed */
    {0, CODE_MAILBOX_DISABLED, "account*disabled"}, {0, CODE_MAILBOX_DISABLED, "mailbox*disabled"},
    {0, CODE_MAILBOX_DISABLED, "user*disabled"}, {0, CODE_MAILBOX_DISABLED, "address*disabled"},
    {0, CODE_MAILBOX_DISABLED, "account*inactive"}, {0, CODE_MAILBOX_DISABLED, "mailbox*inactive"},
    {0, CODE_MAILBOX_DISABLED, "inactive*account"}, {0, CODE_MAILBOX_DISABLED, "inactive*mailbox"},
    {0, CODE_MAILBOX_DISABLED, "inactive user"}, {0, CODE_MAILBOX_DISABLED, "user*inactive"},
    {0, CODE_MAILBOX_DISABLED, "disabled*account"}, {0, CODE_MAILBOX_DISABLED, "disabled*mailbox"},
    {0, CODE_MAILBOX_DISABLED, "disabled recipient"}, {0, CODE_MAILBOX_DISABLED, "recipient*disabled"},
    {0, CODE_MAILBOX_DISABLED, "account*suspended"}, {0, CODE_MAILBOX_DISABLED, "user*suspended"},
    {0, CODE_MAILBOX_DISABLED, "mailbox*suspended"}, {0, CODE_MAILBOX_DISABLED, "account*deactivated"},
    {0, CODE_MAILBOX_DISABLED, "account*closed"}, {0, CODE_MAILBOX_DISABLED, "mailbox*closed"},
    {0, CODE_MAILBOX_DISABLED, "account*locked"}, {0, CODE_MAILBOX_DISABLED, "mailbox*locked"},
    {0, CODE_MAILBOX_DISABLED, "account*terminated"}, {0, CODE_MAILBOX_DISABLED, "account*expired"},
    {0, CODE_MAILBOX_DISABLED, "mailbox*expired"}, {0, CODE_MAILBOX_DISABLED, "account is blocked"},
    {0, CODE_MAILBOX_DISABLED, "not active"}, {0, CODE_MAILBOX_DISABLED, "no longer active"},
    {0, CODE_MAILBOX_DISABLED, "deactivated mailbox"}, {0, CODE_MAILBOX_DISABLED, "mailbox is frozen"},
    {0, CODE_MAILBOX_DISABLED, "account*frozen"}, {0, CODE_MAILBOX_DISABLED, "mailbox currently unavailable"},
    {0, CODE_MAILBOX_DISABLED, "delivery * disabled"}, {0, CODE_MAILBOX_DISABLED, "account is not available"},
    /* it has moved */
    {5, CODE_MOVED, "user has moved"}, {5, CODE_MOVED, "has moved to"}, {5, CODE_MOVED, "please try <"},
    {5, CODE_MOVED, "new address is"}, {5, CODE_MOVED, "address has changed"},
    /* there is none: only for good, as 4yz often comes from a directory that is away */
    {5, CODE_UNKNOWN_USER, "user unknown"},                           /* Postfix, sendmail */
    {5, CODE_UNKNOWN_USER, "email account that you tried to reach does not exist"}, /* Gmail */
    {5, CODE_UNKNOWN_USER, "recipient address rejected: access denied"}, /* Exchange Online, 5.4.1 */
    {5, CODE_UNKNOWN_USER, "doesn't have a * account"},               /* Yahoo */
    {5, CODE_UNKNOWN_USER, "unrouteable address"},                    /* Exim */
    {5, CODE_UNKNOWN_USER, "unrouteable mail address"}, {5, CODE_UNKNOWN_USER, "no mailbox here by that name"},
    {5, CODE_UNKNOWN_USER, "requested action not taken: mailbox unavailable"}, /* Outlook.com, GMX */
    {5, CODE_UNKNOWN_USER, "action not taken: mailbox unavailable"},
    {5, CODE_UNKNOWN_USER, "mailbox unavailable or access denied"},
    {5, CODE_UNKNOWN_USER, "unknown user"}, {5, CODE_UNKNOWN_USER, "no such user"},
    {5, CODE_UNKNOWN_USER, "no such recipient"}, {5, CODE_UNKNOWN_USER, "no such mailbox"},
    {5, CODE_UNKNOWN_USER, "no such account"}, {5, CODE_UNKNOWN_USER, "no such address"},
    {5, CODE_UNKNOWN_USER, "no such local user"}, {5, CODE_UNKNOWN_USER, "no such person"},
    {5, CODE_UNKNOWN_USER, "no such email"}, {5, CODE_UNKNOWN_USER, "no such e-mail"},
    {5, CODE_UNKNOWN_USER, "no such id"}, {5, CODE_UNKNOWN_USER, "nosuchuser"},
    {5, CODE_UNKNOWN_USER, "user*does not exist"}, {5, CODE_UNKNOWN_USER, "user*doesn't exist"},
    {5, CODE_UNKNOWN_USER, "user*not exist"}, {5, CODE_UNKNOWN_USER, "account*not exist"},
    {5, CODE_UNKNOWN_USER, "mailbox*not exist"}, {5, CODE_UNKNOWN_USER, "mailbox*n't exist"},
    {5, CODE_UNKNOWN_USER, "recipient*not exist"}, {5, CODE_UNKNOWN_USER, "recipient*n't exist"},
    {5, CODE_UNKNOWN_USER, "address*not exist"}, {5, CODE_UNKNOWN_USER, "address*n't exist"},
    {5, CODE_UNKNOWN_USER, "user not found"}, {5, CODE_UNKNOWN_USER, "mailbox not found"},
    {5, CODE_UNKNOWN_USER, "recipient not found"}, {5, CODE_UNKNOWN_USER, "account not found"},
    {5, CODE_UNKNOWN_USER, "address not found"}, {5, CODE_UNKNOWN_USER, "mailbox unknown"},
    {5, CODE_UNKNOWN_USER, "recipient unknown"}, {5, CODE_UNKNOWN_USER, "unknown recipient"},
    {5, CODE_UNKNOWN_USER, "unknown local part"}, {5, CODE_UNKNOWN_USER, "unknown local-part"},
    {5, CODE_UNKNOWN_USER, "unknown address"}, {5, CODE_UNKNOWN_USER, "address unknown"},
    {5, CODE_UNKNOWN_USER, "unknown mailbox"}, {5, CODE_UNKNOWN_USER, "unknown account"},
    {5, CODE_UNKNOWN_USER, "unknown or illegal alias"}, {5, CODE_UNKNOWN_USER, "invalid recipient"},
    {5, CODE_UNKNOWN_USER, "invalid mailbox"}, {5, CODE_UNKNOWN_USER, "invalid user"},
    {5, CODE_UNKNOWN_USER, "not a valid mailbox"}, {5, CODE_UNKNOWN_USER, "not a valid user"},
    {5, CODE_UNKNOWN_USER, "not a valid recipient"}, {5, CODE_UNKNOWN_USER, "not a known user"},
    {5, CODE_UNKNOWN_USER, "not known at this"}, {5, CODE_UNKNOWN_USER, "not known here"},
    {5, CODE_UNKNOWN_USER, "not our customer"}, {5, CODE_UNKNOWN_USER, "not listed in"}, /* Domino */
    {5, CODE_UNKNOWN_USER, "no longer available"}, {5, CODE_UNKNOWN_USER, "no longer valid"},
    {5, CODE_UNKNOWN_USER, "no longer in use"}, {5, CODE_UNKNOWN_USER, "no longer exists"},
    {5, CODE_UNKNOWN_USER, "no longer on server"}, {5, CODE_UNKNOWN_USER, "is not a mailbox"},
    {5, CODE_UNKNOWN_USER, "no user here"}, {5, CODE_UNKNOWN_USER, "no valid recipients"},
    {5, CODE_UNKNOWN_USER, "undeliverable address"}, {5, CODE_UNKNOWN_USER, "unable to find*user"},
    {5, CODE_UNKNOWN_USER, "unknown e-mail address"}, {5, CODE_UNKNOWN_USER, "unknown email address"},
    {5, CODE_UNKNOWN_USER, "not a registered"},
    {5, CODE_UNKNOWN_USER, "no account by that name"}, {5, CODE_UNKNOWN_USER, "not our user"},
    /* the domain */
    {0, CODE_DOMAIN_UNKNOWN, "host or domain name not found"}, {0, CODE_DOMAIN_UNKNOWN, "no such domain"},
    {0, CODE_DOMAIN_UNKNOWN, "unknown domain"}, {0, CODE_DOMAIN_UNKNOWN, "domain does not exist"},
    {0, CODE_DOMAIN_UNKNOWN, "domain not found"}, {0, CODE_DOMAIN_UNKNOWN, "name or service not known"},
    {0, CODE_DOMAIN_UNKNOWN, "nullmx"}, {0, CODE_DOMAIN_UNKNOWN, "null mx"},
    {0, CODE_DOMAIN_UNKNOWN, "does not accept mail"}, {0, CODE_DOMAIN_UNKNOWN, "accepts no mail"},
    {0, CODE_DOMAIN_UNKNOWN, "host unknown"}, {0, CODE_DOMAIN_UNKNOWN, "unknown host"},
    {0, CODE_DOMAIN_UNKNOWN, "no mail server"}, {0, CODE_DOMAIN_UNKNOWN, "nxdomain"},
    {0, CODE_DOMAIN_UNKNOWN, "domain * not exist"}, {0, CODE_DOMAIN_UNKNOWN, "no mx"},
    /* the message: malware, size, form, spam */
    {0, CODE_VIRUS, "virus"}, {0, CODE_VIRUS, "malware"}, {0, CODE_VIRUS, "infected"}, {0, CODE_VIRUS, "clamav"},
    {0, CODE_VIRUS, "trojan"},
    {0, CODE_TOO_BIG, "message*too large"}, {0, CODE_TOO_BIG, "message*too big"},
    {0, CODE_TOO_BIG, "message size"}, {0, CODE_TOO_BIG, "exceed*size"}, {0, CODE_TOO_BIG, "size*exceed"},
    {0, CODE_TOO_BIG, "size limit"}, {0, CODE_TOO_BIG, "message length exceeds"},
    {0, CODE_CONTENT, "attachment"}, {0, CODE_CONTENT, "file type"}, {0, CODE_CONTENT, "executable"},
    {0, CODE_CONTENT, "potential security issue"},                    /* Gmail 5.7.0 */
    {0, CODE_CONTENT, "bare lf"}, {0, CODE_CONTENT, "bare cr"}, {0, CODE_CONTENT, "bare newline"},
    {0, CODE_CONTENT, "bare <"}, {0, CODE_CONTENT, "stray "}, {0, CODE_CONTENT, "line too long"},
    {0, CODE_CONTENT, "line length"}, {0, CODE_CONTENT, "lines too long"}, {0, CODE_CONTENT, "8bit"},
    {0, CODE_CONTENT, "8-bit"}, {0, CODE_CONTENT, "smtputf8"}, {0, CODE_CONTENT, "non-ascii"},
    {0, CODE_CONTENT, "from: header"}, {0, CODE_CONTENT, "from header"}, {0, CODE_CONTENT, "missing*header"},
    {0, CODE_CONTENT, "header*missing"}, {0, CODE_CONTENT, "message-id header"},
    {0, CODE_CONTENT, "duplicate header"}, {0, CODE_CONTENT, "rfc 5322"}, {0, CODE_CONTENT, "rfc5322"},
    {0, CODE_CONTENT, "rfc 2822"}, {0, CODE_CONTENT, "rfc2822"}, {0, CODE_CONTENT, "rfc 822"},
    {0, CODE_CONTENT, "_mime_"}, {0, CODE_CONTENT, "malformed"}, {0, CODE_CONTENT, "header syntax"},
    {0, CODE_SPAM, "likely unsolicited"},                             /* Gmail */
    {0, CODE_SPAM, "message content rejected"},                       /* Postfix header_checks */
    {0, CODE_SPAM, "spam"}, {0, CODE_SPAM, "unsolicited"}, {0, CODE_SPAM, "junk mail"}, {0, CODE_SPAM, "_uce_"}, {0, CODE_SPAM, "_ube_"},
    {0, CODE_SPAM, "phish"}, {0, CODE_SPAM, "bulk mail"}, {0, CODE_SPAM, "due to content"},
    {0, CODE_SPAM, "content restrictions"}, {0, CODE_SPAM, "content filter"}, {0, CODE_SPAM, "suspicious"},
    {0, CODE_SPAM, "objectionable"},
    /* the way */
    {0, CODE_LOOP, "hop count"}, {0, CODE_LOOP, "mail loop"}, {0, CODE_LOOP, "loop detected"},
    {0, CODE_LOOP, "loops back"}, {0, CODE_LOOP, "routing loop"}, {0, CODE_LOOP, "too many received"},
    {0, CODE_LOOP, "forwarding loop"}, {0, CODE_LOOP, "mail forwarding loop"}, {0, CODE_LOOP, "looping"},
    {0, CODE_TLS, "starttls"}, {0, CODE_TLS, "_tls_"}, {0, CODE_TLS, "encryption required"},
    {0, CODE_TLS, "certificate"}, {0, CODE_TLS, "not encrypted"}, {0, CODE_TLS, "encrypted connection"},
    {0, CODE_EXPIRED, "delivery time expired"}, {0, CODE_EXPIRED, "retry timeout exceeded"}, /* Exim */
    {0, CODE_EXPIRED, "message expired"}, {0, CODE_EXPIRED, "message has expired"},
    {0, CODE_EXPIRED, "message too old"}, {0, CODE_EXPIRED, "in queue too long"},
    {0, CODE_NETWORK, "connection timed out"}, {0, CODE_NETWORK, "connection refused"},
    {0, CODE_NETWORK, "no route to host"}, {0, CODE_NETWORK, "network is unreachable"},
    {0, CODE_NETWORK, "lost connection"}, {0, CODE_NETWORK, "connection reset"},
    {0, CODE_NETWORK, "connection dropped"}, {0, CODE_NETWORK, "connection was closed"},
    {0, CODE_NETWORK, "did not accept our requests to connect"},       /* Gmail */
    {0, CODE_NETWORK, "operation timed out"}, {0, CODE_NETWORK, "timeout"},
    {0, CODE_PROTOCOL, "improper command pipelining"},                /* Postfix */
    {0, CODE_PROTOCOL, "synchronization error"},                      /* Exim */
    {0, CODE_PROTOCOL, "protocol error"}, {0, CODE_PROTOCOL, "command unrecognized"},
    {0, CODE_PROTOCOL, "unrecognized command"}, {0, CODE_PROTOCOL, "command not recognized"},
    {0, CODE_PROTOCOL, "command not implemented"}, {0, CODE_PROTOCOL, "bad sequence"},
    {0, CODE_PROTOCOL, "out of sequence"}, {0, CODE_PROTOCOL, "improper sequence"}, {0, CODE_PROTOCOL, "need mail command"},
    {0, CODE_PROTOCOL, "need rcpt"},
    {0, CODE_BAD_ADDRESS, "bad recipient address syntax"},            /* Postfix */
    {0, CODE_BAD_ADDRESS, "malformed address"}, {0, CODE_BAD_ADDRESS, "invalid address syntax"},
    {0, CODE_BAD_ADDRESS, "address syntax"}, {0, CODE_BAD_ADDRESS, "invalid characters in"},
    {0, CODE_PROTOCOL, "syntax error"},
    /* their server, as far as it says so */
    {0, CODE_SERVER_TROUBLE, "temporary lookup failure"},             /* Postfix */
    {0, CODE_SERVER_TROUBLE, "temporary local problem"},              /* Exim */
    {0, CODE_SERVER_TROUBLE, "local error"}, {0, CODE_SERVER_TROUBLE, "temporary failure"},
    {0, CODE_SERVER_TROUBLE, "internal error"}, {0, CODE_SERVER_TROUBLE, "internal server error"},
    {0, CODE_SERVER_TROUBLE, "server busy"}, {0, CODE_SERVER_TROUBLE, "server is busy"},
    {0, CODE_SERVER_TROUBLE, "server configuration"}, {0, CODE_SERVER_TROUBLE, "insufficient system"},
    {0, CODE_SERVER_TROUBLE, "insufficient disk"}, {0, CODE_SERVER_TROUBLE, "out of memory"},
    {0, CODE_SERVER_TROUBLE, "queue file write error"}, {0, CODE_SERVER_TROUBLE, "disk full"},
    {0, CODE_SERVER_TROUBLE, "system not accepting"}, {0, CODE_SERVER_TROUBLE, "temporary system problem"},
    {0, CODE_SERVER_TROUBLE, "shutting down"}, {0, CODE_SERVER_TROUBLE, "under maintenance"},
    {0, CODE_SERVER_TROUBLE, "cannot process"},
    {4, CODE_SERVER_TROUBLE, "unverified address"},                   /* Postfix */
    {4, CODE_SERVER_TROUBLE, "service unavailable"}, {4, CODE_SERVER_TROUBLE, "service not available"},
    {4, CODE_SERVER_TROUBLE, "temporarily unavailable"}, {4, CODE_SERVER_TROUBLE, "service currently unavailable"},
    /* rules without a name */
    {0, CODE_POLICY, "policy"}, {0, CODE_POLICY, "policies"}, {0, CODE_POLICY, "administrative prohibition"},
    {0, CODE_POLICY, "administratively"}, {0, CODE_POLICY, "access denied"}, {0, CODE_POLICY, "not permitted"},
    {0, CODE_POLICY, "prohibited"}, {0, CODE_POLICY, "not allowed"}, {0, CODE_POLICY, "unauthorized"},
    {0, CODE_POLICY, "not authorized"}, {0, CODE_POLICY, "blocked"}, {0, CODE_POLICY, "banned"},
    {0, CODE_POLICY, "message rejected"}, {0, CODE_POLICY, "message refused"},
    {0, CODE_POLICY, "security reasons"},
};
/* clang-format on */
