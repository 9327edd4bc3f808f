/* base/limits.h: every bound in one place. A name ends in its unit or in _MAX (a count). tests/ reaches each
 * of them. RFC 5321 4.5.3.1 gives minimum capacities; ours are at or above each of them.
 */
#pragma once

enum limits {
    /* SMTP lines and names (octets, CRLF counted where the RFC counts it) */
    SMTP_COMMAND_LINE_MAX =
        4096, /* RFC 5321 4.5.3.1.4: 512, plus what extensions add (8BITMIME, SIZE, DSN, SMTPUTF8, AUTH) */
    SMTP_REPLY_LINE_MAX = 512,     /* 4.5.3.1.5: what we send */
    SMTP_REPLY_IN_LINE_MAX = 2048, /* what we tolerate from a server before the reply counts as hostile */
    SMTP_REPLY_IN_MAX = 65536,     /* one multi-line reply from a server */
    SMTP_TEXT_LINE_MAX = 1000,     /* 4.5.3.1.6: what we make; longer lines pass through unaltered */
    SMTP_LOCAL_PART_MAX = 64,      /* 4.5.3.1.1 as a minimum; we accept LOCAL_PART_TAKEN_MAX */
    SMTP_LOCAL_PART_TAKEN_MAX = 256,
    SMTP_DOMAIN_MAX = 255,                /* 4.5.3.1.2 */
    SMTP_PATH_MAX = 512,                  /* 4.5.3.1.3: 256 with punctuation as a minimum */
    SMTP_RCPT_MAX = 1000,                 /* recipients a transaction; 4.5.3.1.8: at least 100 */
    SMTP_SIZE_DEFAULT = 50 * 1024 * 1024, /* octets a message */
    SMTP_ERRORS_MAX = 20,                 /* error replies before the session is closed with 421 */
    SMTP_JUNK_MAX = 100,                  /* NOOP, RSET, VRFY, HELP, EHLO without mail between them */
    SMTP_TRANSACTIONS_MAX = 10000,        /* a connection */
    SMTP_AUTH_LINE_MAX = 12288 + 2,       /* RFC 4954 4: base64 of a response, with CRLF */
    SMTP_AUTH_FAILURES_MAX = 5,           /* refused logins before the session is closed */
    DSN_ENVID_MAX = 100,                  /* RFC 3461 4.4, decoded */
    DSN_ORCPT_MAX = 500,                  /* RFC 3461 4.2, decoded */
    MAIL_TAG_MAX = 64,                    /* what a listener or a header field calls a message, for routes */
    HEADER_SECTION_MAX = 100 * 1024,
    HEADER_RECEIVED_MAX = 100, /* hops before a loop is assumed; RFC 5321 6.3 */

    /* Deadlines of the server, RFC 5321 4.5.3.2.7, milliseconds */
    SMTP_SERVER_COMMAND_MS = 5 * 60 * 1000,
    SMTP_SERVER_DATA_MS = 5 * 60 * 1000, /* without any byte */
    SMTP_SERVER_RATE_FLOOR = 100,        /* bytes a second over SMTP_SERVER_RATE_WINDOW_MS of DATA or BDAT */
    SMTP_SERVER_RATE_WINDOW_MS = 5 * 60 * 1000,
    SMTP_SERVER_TRANSACTION_MS = 60 * 60 * 1000, /* MAIL to end of data */

    /* Deadlines of the client, RFC 5321 4.5.3.2, milliseconds */
    SMTP_CLIENT_CONNECT_MS =
        30 * 1000, /* Postfix smtp_connect_timeout: a dead address must not hold the next one up */
    SMTP_CLIENT_GREETING_MS = 5 * 60 * 1000,
    SMTP_CLIENT_HELLO_MS = 5 * 60 * 1000,
    SMTP_CLIENT_TLS_MS = 60 * 1000, /* a handshake; it may be followed by an attempt in the clear */
    SMTP_CLIENT_MAIL_MS = 5 * 60 * 1000,
    SMTP_CLIENT_RCPT_MS = 5 * 60 * 1000,
    SMTP_CLIENT_DATA_INIT_MS = 2 * 60 * 1000,
    SMTP_CLIENT_DATA_BLOCK_MS = 3 * 60 * 1000,
    SMTP_CLIENT_RATE_FLOOR = 500, /* octets a second over SMTP_CLIENT_RATE_WINDOW_MS, while some wait */
    SMTP_CLIENT_RATE_WINDOW_MS = 5 * 60 * 1000,
    SMTP_CLIENT_DATA_END_MS = 10 * 60 * 1000,
    SMTP_CLIENT_QUIT_MS = 10 * 1000,
    SMTP_CLIENT_IDLE_MS = 10 * 1000, /* a kept connection waits this long for the next message */
    SMTP_CLIENT_REUSE_MAX = 100,     /* messages a connection */
    SMTP_CLIENT_ADDRESSES_MAX = 10,  /* addresses tried for one attempt; RFC 5321 5.1 */

    /* SASL: octets, decoded */
    SASL_RESPONSE_MAX = 12288, /* RFC 4954 4: at least this, in base64 */
    SASL_NAME_MAX = 320,       /* of a user: a local part of 64, "@", a domain of 255 */
    SASL_PASSWORD_MAX = 1024,
    SASL_TOKEN_MAX = 8192,
    SASL_SCRAM_MAX = 2048, /* one message of SCRAM */
    SASL_NONCE_MAX = 256,  /* the peer's part of SCRAM's nonce */

    /* Channels between roles */
    IPC_FRAME_MAX = 128 * 1024,      /* octets of one message's payload */
    IPC_PACKET_MAX = 160 * 1024,     /* octets of one packet (frames of one turn) */
    IPC_QUEUE_MAX = 1024 * 1024,     /* octets waiting to be sent on one channel before it counts as full */
    IPC_BODY_INLINE_MAX = 64 * 1024, /* a larger body travels by pipe */

    /* Store (DESIGN of the queue: docs/queue.md) */
    STORE_SEGMENT_SIZE = 64 * 1024 * 1024,
    STORE_BODY_SEGMENT_MAX = 1024 * 1024, /* a larger body is a file of its own */
    STORE_ENVELOPE_MAX = 2 * 1024 * 1024, /* SMTP_RCPT_MAX recipients with all their parameters */
    STORE_BATCH_MAX = 8 * 1024 * 1024,    /* octets one flush carries */

    /* Queue */
    QUEUE_SITE_CONNECTIONS_MAX = 20,   /* connections to one destination site by default */
    SUPPRESSED_MAX = 1000000,          /* addresses of the suppression list; with more the oldest goes */
    QUEUE_RCPTS_PER_ATTEMPT_MAX = 100, /* RFC 5321 4.5.3.1.8: what every server must take */

    /* DNS */
    DNS_NAME_MAX = 255,
    DNS_MX_MAX = 32,        /* MX records kept of an answer, the most preferred ones */
    DNS_ADDRESSES_MAX = 32, /* addresses kept of one host */
    DNS_TXT_MAX = 4096,     /* octets looked at of one TXT record */

    /* Transport security towards others */
    DANE_RECORDS_MAX = 32,            /* usable TLSA records kept of one name */
    DANE_DATA_MAX = 16384,            /* octets of one: a whole certificate may stand in it */
    MTA_STS_POLICY_MAX = 64 * 1024,   /* RFC 8461 3.3 suggests it */
    MTA_STS_DOMAINS_MAX = 50000,      /* without a policy, of which that is remembered */
    MTA_STS_POLICIES_MAX = 20000,     /* remembered, also on disk; with more the least used goes */
    MTA_STS_ASKS_MAX = 128,           /* records asked for at a time */
    MTA_STS_FETCHES_MAX = 64,         /* policies fetched at a time */
    MTA_STS_FETCH_MS = 60 * 1000,     /* RFC 8461 3.3: a minute */
    MTA_STS_MX_MAX = 256,             /* patterns of one policy */
    TLS_RPT_RUA_MAX = 8,              /* places that one domain wants its report sent to */
    TLS_RPT_POLICIES_MAX = 8,         /* told apart in a report of ours */
    TLS_RPT_FAILURES_MAX = 64,        /* told apart for one policy in a report of ours; the rest is counted */
    TLS_RPT_NAMES_MAX = 50000,        /* domains of which it is remembered whether they want reports */
    TLS_RPT_DAYS_MAX = 10000,         /* of those that do: domains, and their days that are not reported yet */
    TLS_RPT_MEMORY = 64 * 1024 * 1024, /* octets of what is counted */
    TLS_RPT_DAY_MEMORY = 128 * 1024,  /* of one domain and day */
    TLS_RPT_ASKS_MAX = 64,            /* records asked for at a time */
    TLS_RPT_SENDS_MAX = 16,           /* reports that are sent at a time */
    TLS_RPT_CONTACT_MAX = 200,        /* octets of who we are, and whom to ask, in a report of ours */
    TLS_RPT_REPORT_MAX = 1024 * 1024, /* octets of a report that others send, unpacked */

    /* TLS */
    TLS_CERTIFICATES_MAX = 1000,            /* of one server context */
    TLS_CHAIN_SIZE_MAX = 64 * 1024,         /* octets of PEM */
    TLS_CHAIN_MAX = 10,                     /* certificates of one chain */
    TLS_ANCHORS_SIZE_MAX = 4 * 1024 * 1024, /* octets of PEM */
    TLS_NAMES_MAX = 16,                     /* reference names of one handshake */
    TLS_TLSA_MAX = 32,                      /* TLSA records of one handshake */
    TLS_DANE_DATA_TOLD = 64,                /* octets of the record that matched, in the facts */
    TLS_TICKET_KEYS_MAX = 8,
    TLS_PROOFS_MAX = 100, /* names that are proven to an authority at a time: of one certificate */
    TLS_SIGN_OCTETS_MAX = 512,     /* what is asked to be signed */
    TLS_SIGNATURE_MAX = 1024,      /* RSA-8192 */
    TLS_SIGNATURES_OPEN_MAX = 512, /* handshakes of a process that wait for one; more wait their turn */
    TLS_NAME_TEXT_MAX = 256,       /* octets of a subject or issuer in the facts */
    TLS_LINGER_MS = 30 * 1000,     /* what was written before conn_close() may take this long to leave */

    /* Configuration */
    CONFIG_FILE_MAX = 16 * 1024 * 1024,
    CONFIG_DOMAINS_MAX = 10000,
    CONFIG_LISTENERS_MAX = 64,
    CONFIG_ROUTES_MAX = 10000,
    CONFIG_USERS_MAX = 1000000,
    LOGIN_APP_MAX = 32, /* octets of "phone" in the login "joe/phone" */
    CONFIG_ALIASES_MAX = 1000000, /* targets of all aliases together */
    CONFIG_CERTIFICATES_MAX = 1000,
    HTTPS_ADDRESSES_MAX = 8,
    ACME_NAMES_MAX = 100, /* of one certificate; Let's Encrypt takes no more */
    ACME_URL_MAX = 1000,
    CONFIG_PASSWORD_FILES_MAX = 1000,
    CONFIG_AUTHS_MAX = 100, /* programs of others that look at passwords */
    CONFIG_TABLES_MAX = 32, /* directories and databases among them */
    TABLE_TEXT_MAX = 1024,  /* octets of a URL, DN or filter */
    TABLE_QUERY_MAX = 4096, /* octets of an SQL query */
    OAUTH_TEXT_MAX = 255,   /* octets of a client, an audience or a scope */
    PAM_SERVICE_MAX = 64,   /* octets of the name of a service of PAM */
    CONFIG_SENDERS_MAX = 10000,
    CONFIG_REWRITES_MAX = 1000,
    CONFIG_SENDER_PATTERNS_MAX = 1000, /* of one login */
    ROUTE_USER_MAX = 255,      /* octets of a login name at a next hop */
    SECRET_FILE_MAX = 4 * 1024, /* octets of a file with a password */
    CONFIG_SOURCES_MAX = 64,
    CONFIG_SOURCE_ADDRESSES_MAX = 64, /* of one source */

    /* Secrets (docs/privsep.md) */
    PASSWORD_FILE_MAX = 16 * 1024 * 1024, /* octets: users of one file with their verifiers */
    AUTH_MESSAGE_MAX = 8192,              /* octets of SCRAM's AuthMessage: three of its messages */

    /* Programs that get mail */
    PIPE_TIME_LIMIT_S = 1000, /* Postfix command_time_limit */

    /* Processes */
    ROLE_SMTPD_MAX = 32,
    ROLE_RELAY_MAX = 32,
    ROLE_PAM_N = 4, /* at most ROLE_SMTPD_MAX */
};
