#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "wire/codes.h"

/* What servers say, as people found it in their logs; names and addresses are made up. */
static const struct {
    const char *reply;
    enum code_stage stage;
    enum code_class want;
} rows[] = {
#define AT(stage) CODE_AT_##stage
    /* there is no such mailbox */
    {"550-5.1.1 The email account that you tried to reach does not exist. Please try\n"
     "5.1.1 double-checking the recipient's email address for typos or unnecessary spaces.",
     AT(RCPT), CODE_UNKNOWN_USER},
    {"550 5.1.1 <joe@example.com>: Recipient address rejected: User unknown in virtual mailbox table",
     AT(RCPT), CODE_UNKNOWN_USER},
    {"550 5.1.1 <joe@example.com>... User unknown", AT(RCPT), CODE_UNKNOWN_USER},
    {"550 Unrouteable address", AT(RCPT), CODE_UNKNOWN_USER},
    {"550 unknown local part \"joe\" in <joe@example.com>", AT(RCPT), CODE_UNKNOWN_USER},
    {"550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient joe@example.com not found by SMTP address lookup",
     AT(RCPT), CODE_UNKNOWN_USER},
    {"550 5.4.1 Recipient address rejected: Access denied. For more information see "
     "https://aka.ms/EXOSmtpErrors [AM1EUR01FT001.eop-EUR01.prod.protection.outlook.com]",
     AT(RCPT), CODE_UNKNOWN_USER},
    {"550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).", AT(RCPT), CODE_UNKNOWN_USER},
    {"554 delivery error: dd This user doesn't have a yahoo.com account (joe@yahoo.com) [0] - "
     "mta1.mail.yahoo.com",
     AT(DATA), CODE_UNKNOWN_USER},
    {"550 Requested action not taken: mailbox unavailable\nFor explanation visit https://example.net/errors",
     AT(RCPT), CODE_UNKNOWN_USER},
    {"550 sorry, no mailbox here by that name (#5.7.17)", AT(RCPT), CODE_UNKNOWN_USER},
    {"550 5.1.1 joe@example.com User not found", AT(RCPT), CODE_UNKNOWN_USER},
    {"550 Invalid Recipient - https://community.mimecast.com/docs/DOC-1369#550", AT(RCPT), CODE_UNKNOWN_USER},
    {"554 5.7.1 <joe@example.com>: Recipient address rejected: user joe@example.com does not exist", AT(RCPT),
     CODE_UNKNOWN_USER},
    {"550 <joe@example.com> No such user here", AT(RCPT), CODE_UNKNOWN_USER},
    {"550 #5.1.0 Address rejected.", AT(RCPT), CODE_UNKNOWN_USER},
    {"550 joe@example.com... No such user", AT(RCPT), CODE_UNKNOWN_USER},
    {"550 5.7.1 joe@example.com... no such address here", AT(RCPT), CODE_UNKNOWN_USER},
    {"550 joe (joe@example.com) user not listed in Domino Directory", AT(RCPT), CODE_UNKNOWN_USER},
    {"450 4.1.1 <joe@example.com>: Recipient address rejected: User unknown in local recipient table",
     AT(RCPT), CODE_UNKNOWN_USER},
    /* it takes no mail any more */
    {"550-5.2.1 The email account that you tried to reach is inactive. For more\n5.2.1 information, go to "
     "https://support.google.com/mail/?p=DisabledUser",
     AT(RCPT), CODE_MAILBOX_DISABLED},
    {"554 30 Sorry, your message to joe@aol.com cannot be delivered. This mailbox is disabled (554.30).",
     AT(DATA), CODE_MAILBOX_DISABLED},
    {"550 5.7.1 Recipient account suspended", AT(RCPT), CODE_MAILBOX_DISABLED},
    {"550 5.2.1 Mailbox disabled, not accepting messages", AT(RCPT), CODE_MAILBOX_DISABLED},
    {"550 The account has been closed", AT(RCPT), CODE_MAILBOX_DISABLED},
    /* it has no room */
    {"452-4.2.2 The recipient's inbox is out of storage space. Please direct the\n4.2.2 recipient to "
     "https://support.google.com/mail/?p=OverQuotaTemp",
     AT(RCPT), CODE_MAILBOX_FULL},
    {"552-5.2.2 The email account that you tried to reach is over quota and inactive.", AT(RCPT),
     CODE_MAILBOX_FULL},
    {"552 5.2.2 <joe@example.com>: Quota exceeded (mailbox for user is full)", AT(DATA), CODE_MAILBOX_FULL},
    {"550 5.7.1 joe@example.com: mailbox is full", AT(RCPT), CODE_MAILBOX_FULL},
    {"452 4.2.2 Mailbox full", AT(DATA), CODE_MAILBOX_FULL},
    {"554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException", AT(DATA),
     CODE_MAILBOX_FULL},
    {"552 Mailbox has exceeded the limit", AT(RCPT), CODE_MAILBOX_FULL},
    {"452 Requested mail action not taken: Disk quota exceeded", AT(RCPT), CODE_MAILBOX_FULL},
    /* moved, bad, no domain */
    {"551 User not local; please try <joe@example.org>", AT(RCPT), CODE_MOVED},
    {"551 5.1.6 The user has moved", AT(RCPT), CODE_MOVED},
    {"501 5.1.3 Bad recipient address syntax", AT(RCPT), CODE_BAD_ADDRESS},
    {"553 5.1.3 The recipient address <joe@@example.com> is not a valid RFC-5321 address.", AT(RCPT),
     CODE_BAD_ADDRESS},
    {"556 5.1.10 Recipient address has null MX", AT(RCPT), CODE_DOMAIN_UNKNOWN},
    {"521 5.3.2 This host does not accept mail", AT(RCPT), CODE_DOMAIN_UNKNOWN},
    {"550 5.1.2 <joe@example.invalid>: Recipient address rejected: Domain not found", AT(RCPT),
     CODE_DOMAIN_UNKNOWN},
    {"550 5.1.2 joe@nowhere.example... Host unknown (Name server: nowhere.example: host not found)", AT(RCPT),
     CODE_DOMAIN_UNKNOWN},
    {"550 5.4.310 DNS domain example.invalid does not exist [Message=InfoDomainNonexistent]", AT(RCPT),
     CODE_DOMAIN_UNKNOWN},
    /* not from us */
    {"550 5.7.1 RESOLVER.RST.AuthRequired; authentication required [Stage: CreateMessage]", AT(DATA),
     CODE_RESTRICTED},
    {"550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required", AT(DATA),
     CODE_RESTRICTED},
    {"550 5.7.124 Sender not in allowed-senders list", AT(DATA), CODE_RESTRICTED},
    {"554 5.7.1 This list is for members only", AT(DATA), CODE_RESTRICTED},
    {"550 5.7.193 UnifiedGroupAgent; Delivery failed because the sender isn't a group member", AT(DATA),
     CODE_RESTRICTED},
    {"450 4.1.8 <a@x.invalid>: Sender address rejected: Domain not found", AT(RCPT), CODE_SENDER_REFUSED},
    {"550 Sender verify failed", AT(RCPT), CODE_SENDER_REFUSED},
    {"553 5.1.8 <a@x.invalid>... Domain of sender address a@x.invalid does not exist", AT(MAIL),
     CODE_SENDER_REFUSED},
    {"550 5.7.60 SMTP; Client does not have permissions to send as this sender", AT(DATA),
     CODE_SENDER_REFUSED},
    {"550 5.7.501 Service unavailable. Spam abuse detected from 192.0.2.1", AT(RCPT), CODE_SPAM},
    {"550 5.7.27 Sender address has null MX", AT(MAIL), CODE_SENDER_REFUSED},
    /* our address and its name */
    {"554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; "
     "https://www.spamhaus.org/query/ip/192.0.2.1",
     AT(RCPT), CODE_BLOCKED_IP},
    {"550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service "
     "provider since part of their network is on our block list (S3140).",
     AT(MAIL), CODE_BLOCKED_IP},
    {"550 5.7.606 Access denied, banned sending IP [192.0.2.1]. To request removal from this list please "
     "visit "
     "https://sender.office.com/",
     AT(RCPT), CODE_BLOCKED_IP},
    {"553 5.7.2 [TSS09] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed.",
     AT(MAIL), CODE_BLOCKED_IP},
    {"550-5.7.1 [192.0.2.1] Our system has detected that this message is likely\n5.7.1 suspicious due to the "
     "very low reputation of the sending IP address.",
     AT(DATA), CODE_BLOCKED_IP},
    {"554 IP=192.0.2.1 - A problem occurred. Your IP has been added to a blacklist", AT(SESSION),
     CODE_BLOCKED_IP},
    {"550 Blocked - see https://www.spamcop.net/bl.shtml?192.0.2.1", AT(RCPT), CODE_BLOCKED_IP},
    {"554-No SMTP service\nIP address 192.0.2.1 is blocked", AT(SESSION), CODE_BLOCKED_IP},
    {"554 mx1.example.net", AT(SESSION), CODE_BLOCKED_IP},
    {"550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP", AT(RCPT),
     CODE_BLOCKED_IP},
    {"450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]", AT(RCPT), CODE_HOST_NAME},
    {"550-5.7.25 [192.0.2.1] The IP address sending this message does not have a PTR record setup", AT(DATA),
     CODE_HOST_NAME},
    {"504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname", AT(RCPT), CODE_HOST_NAME},
    {"550 Reverse DNS lookup failed for 192.0.2.1", AT(SESSION), CODE_HOST_NAME},
    /* SPF, DKIM, DMARC */
    {"550-5.7.26 This mail has been blocked because the sender is unauthenticated.\n5.7.26 Gmail requires "
     "all "
     "senders to authenticate with either SPF or DKIM.",
     AT(DATA), CODE_AUTHENTICATION},
    {"550 5.7.23 The message was rejected because of Sender Policy Framework violation", AT(RCPT),
     CODE_AUTHENTICATION},
    {"550 5.7.509 Access denied, sending domain example.org does not pass DMARC verification and has a DMARC "
     "policy of reject.",
     AT(DATA), CODE_AUTHENTICATION},
    {"550 5.7.1 Email rejected per DMARC policy for example.org", AT(DATA), CODE_AUTHENTICATION},
    {"554 5.7.5 Permanent error evaluating DMARC policy", AT(DATA), CODE_AUTHENTICATION},
    {"550 SPF check failed for example.org", AT(MAIL), CODE_AUTHENTICATION},
    {"550 5.7.515 Access denied, sending domain example.org doesn't meet the required authentication level.",
     AT(DATA), CODE_AUTHENTICATION},
    {"550 5.7.30 The DKIM check did not pass", AT(DATA), CODE_AUTHENTICATION},
    {"530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM", AT(MAIL),
     CODE_AUTH_REQUIRED},
    {"530 5.7.0 Authentication Required. For more information, go to https://support.example.com", AT(MAIL),
     CODE_AUTH_REQUIRED},
    {"535 5.7.8 Error: authentication failed", AT(SESSION), CODE_AUTH_REQUIRED},
    /* the message */
    {"550-5.7.1 [192.0.2.1 12] Our system has detected that this message is\n5.7.1 likely unsolicited mail.",
     AT(DATA), CODE_SPAM},
    {"554 5.7.1 Spam message rejected", AT(DATA), CODE_SPAM},
    {"550 5.7.1 Message content rejected, id=12345-06", AT(DATA), CODE_SPAM},
    {"550 This message was classified as SPAM and may not be delivered", AT(DATA), CODE_SPAM},
    {"554 5.7.1 Blocked by SURBL: example.net", AT(DATA), CODE_SPAM},
    {"550 5.7.1 virus Eicar-Test-Signature detected by ClamAV", AT(DATA), CODE_VIRUS},
    {"552-5.7.0 This message was blocked because its content presents a potential\n5.7.0 security issue.",
     AT(DATA), CODE_CONTENT},
    {"550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal; message contains bare linefeeds", AT(DATA), CODE_CONTENT},
    {"550-5.7.1 [192.0.2.1] Messages missing a valid address in From:\n5.7.1 header, or having no From: "
     "header, "
     "are not accepted.",
     AT(DATA), CODE_CONTENT},
    {"554 5.6.1 Body type not supported by Remote Host", AT(DATA), CODE_CONTENT},
    {"550 maximum allowed line length is 998 octets, got 1200", AT(DATA), CODE_CONTENT},
    {"552 5.3.4 Message size exceeds fixed limit", AT(MAIL), CODE_TOO_BIG},
    {"552 5.3.4 Message size exceeds maximum value", AT(DATA), CODE_TOO_BIG},
    {"552-5.2.3 Your message exceeded Google's message size limits.", AT(DATA), CODE_TOO_BIG},
    {"552 Message too large", AT(DATA), CODE_TOO_BIG},
    /* later */
    {"450 4.2.0 <joe@example.com>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch",
     AT(RCPT), CODE_GREYLISTED},
    {"451 4.7.1 Greylisting in action, please come back in 00:04:59", AT(RCPT), CODE_GREYLISTED},
    {"451 4.3.2 graylisted - please try again later", AT(RCPT), CODE_GREYLISTED},
    {"421-4.7.28 [192.0.2.1] Our system has detected an unusual rate of\n4.7.28 unsolicited mail originating "
     "from your IP address.",
     AT(DATA), CODE_RATE_LIMITED},
    {"450-4.2.1 The user you are trying to contact is receiving mail too quickly.", AT(RCPT),
     CODE_RATE_LIMITED},
    {"421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user "
     "complaints",
     AT(MAIL), CODE_RATE_LIMITED},
    {"451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation.",
     AT(MAIL), CODE_RATE_LIMITED},
    {"421 4.7.0 mx.example.com Error: too many connections from 192.0.2.1", AT(SESSION), CODE_RATE_LIMITED},
    {"452 4.5.3 Error: too many recipients", AT(RCPT), CODE_RATE_LIMITED},
    {"451 4.3.0 <joe@example.com>: Temporary lookup failure", AT(RCPT), CODE_SERVER_TROUBLE},
    {"451 Temporary local problem - please try later", AT(RCPT), CODE_SERVER_TROUBLE},
    {"452 4.3.1 Insufficient system resources (UsedDiskSpace)", AT(MAIL), CODE_SERVER_TROUBLE},
    {"421 4.3.2 Service not available", AT(SESSION), CODE_SERVER_TROUBLE},
    {"450 4.1.1 <joe@example.com>: Recipient address rejected: unverified address: Address verification in "
     "progress",
     AT(RCPT), CODE_SERVER_TROUBLE},
    /* their configuration, ours, the way */
    {"554 5.7.1 <joe@example.com>: Relay access denied", AT(RCPT), CODE_RELAY_DENIED},
    {"550 5.7.1 <joe@example.com>... Relaying denied", AT(RCPT), CODE_RELAY_DENIED},
    {"550 relay not permitted", AT(RCPT), CODE_RELAY_DENIED},
    {"553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", AT(RCPT), CODE_RELAY_DENIED},
    {"550 5.7.64 TenantAttribution; Relay Access Denied", AT(RCPT), CODE_RELAY_DENIED},
    {"550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", AT(RCPT), CODE_RELAY_DENIED},
    {"554 5.4.6 Too many hops", AT(DATA), CODE_LOOP},
    {"554 5.4.14 Hop count exceeded - possible mail loop ATTR34", AT(DATA), CODE_LOOP},
    {"554 5.4.0 Error: mail for example.com loops back to myself", AT(DATA), CODE_LOOP},
    {"530 5.7.0 Must issue a STARTTLS command first", AT(MAIL), CODE_TLS},
    {"550 5.7.10 Encryption needed", AT(MAIL), CODE_TLS},
    {"454 4.7.0 TLS not available due to local problem", AT(SESSION), CODE_TLS},
    {"503 5.5.0 <DATA>: Data command rejected: Improper use of SMTP command pipelining", AT(DATA),
     CODE_PROTOCOL},
    {"554 SMTP synchronization error", AT(SESSION), CODE_PROTOCOL},
    {"502 5.5.2 Error: command not recognized", AT(SESSION), CODE_PROTOCOL},
    {"451 4.4.2 Timeout waiting for data from client", AT(DATA), CODE_NETWORK},
    {"550 Message was not accepted: retry timeout exceeded", AT(DATA), CODE_EXPIRED},
    {"554 5.4.7 Delivery expired (message too old) 'timeout'", AT(DATA), CODE_EXPIRED},
    {"550 Administrative prohibition", AT(RCPT), CODE_POLICY},
    {"554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes",
     AT(DATA), CODE_POLICY},
    {"550 5.7.1 Access denied", AT(MAIL), CODE_POLICY},
    /* the bare code */
    {"550 no", AT(RCPT), CODE_UNKNOWN_USER},
    {"550 no", AT(DATA), CODE_POLICY},
    {"552 no", AT(RCPT), CODE_MAILBOX_FULL},
    {"552 no", AT(DATA), CODE_TOO_BIG},
    {"553 no", AT(MAIL), CODE_SENDER_REFUSED},
    {"450 later", AT(RCPT), CODE_OTHER},
    {"571 no", AT(DATA), CODE_OTHER},
    {"571 no", AT(SESSION), CODE_POLICY},
    /* a word within an address or another word says nothing */
    {"550 5.7.1 <spam@virus.example>: refused", AT(DATA), CODE_POLICY},
    {"550 5.0.0 joe@spamhaus.example (quota-exceeded@dmarc.example) no", AT(DATA), CODE_POLICY},
    {"550 5.0.0 spfx no", AT(DATA), CODE_POLICY},
};

static struct code_verdict classify(const char *reply, enum code_stage stage)
{
    struct code_reply r = {.stage = stage};
    assert_true(code_reply_parse(str_from_c(reply), &r));
    return code_classify(&r);
}

static void real_replies(void **state)
{
    UNUSED(state);
    bool ok = true;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct code_verdict v = classify(rows[i].reply, rows[i].stage);
        if (v.class == rows[i].want)
            continue;
        ok = false;
        print_error("row %zu: %s, not %s: %s\n", i, code_class_word(v.class), code_class_word(rows[i].want),
                    rows[i].reply);
    }
    assert_true(ok);
}

/* On one line as in a Diagnostic-Code, in capitals, with other spaces: the same. */
static void form_says_nothing(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[2048];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        buf_puts(&b, "smtp; ");
        for (const char *c = rows[i].reply; *c != '\0'; c++) {
            if (*c == '\n' || *c == ' ')
                buf_puts(&b, " \t ");
            else
                buf_putc(&b, *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c);
        }
        struct code_reply r = {.stage = rows[i].stage};
        assert_true(code_reply_parse(buf_str(&b), &r));
        assert_int_equal(r.code / 100, rows[i].reply[0] - '0');
        /* a line end within a phrase is where the codes are repeated: these rows are read as lines above */
        if (str_chr(str_from_c(rows[i].reply), '\n') == STR_NPOS)
            assert_int_equal(code_classify(&r).class, rows[i].want);
    }
}

static void how_sure(void **state)
{
    UNUSED(state);
    assert_int_equal(classify("550 5.1.1 nope", CODE_AT_RCPT).by, CODE_BY_STATUS);
    assert_int_equal(classify("550 No such user", CODE_AT_RCPT).by, CODE_BY_TEXT);
    assert_int_equal(classify("550 nope", CODE_AT_RCPT).by, CODE_BY_CODE);
    assert_int_equal(classify("550 5.7.1 nope", CODE_AT_RCPT).by, CODE_BY_CODE);
}

/* What we say ourselves has no code. */
static void our_own(void **state)
{
    UNUSED(state);
    static const struct {
        struct esc esc;
        const char *text;
        enum code_class want;
    } own[] = {
        {{4, 4, 1}, "no connection: it was refused", CODE_NETWORK},
        {{4, 4, 2}, "the connection ended", CODE_NETWORK},
        {{4, 3, 0}, "no memory for the mailbox full of spam", CODE_LOCAL_TROUBLE},
        {{5, 1, 2}, "no such domain", CODE_DOMAIN_UNKNOWN},
        {{5, 1, 10}, "the domain takes no mail", CODE_DOMAIN_UNKNOWN},
        {{5, 4, 4}, "the domain has no mail server", CODE_DOMAIN_UNKNOWN},
        {{5, 4, 6}, "the best mail server is this one", CODE_LOOP},
        {{5, 1, 1}, "there is no such user", CODE_UNKNOWN_USER},
        {{5, 3, 4}, "the message is too big for the server", CODE_TOO_BIG},
        {{5, 6, 7}, "the server does not take UTF-8 addresses", CODE_CONTENT},
        {{0, 0, 0}, "", CODE_OTHER},
    };
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        struct code_reply r = {.esc = own[i].esc, .text = str_from_c(own[i].text)};
        assert_int_equal(code_classify(&r).class, own[i].want);
    }
}

static void reply_parse(void **state)
{
    UNUSED(state);
    struct code_reply r = {.stage = CODE_AT_RCPT};
    assert_true(code_reply_parse(STR("smtp; 550-5.1.1 no such user"), &r));
    assert_int_equal(r.code, 550);
    assert_int_equal(r.esc.detail, 1);
    assert_true(str_eq(r.text, STR("no such user")) && r.stage == CODE_AT_RCPT);
    assert_true(code_reply_parse(STR("X-Postfix; 450 4.2.0 later"), &r));
    assert_true(r.code == 450 && r.esc.class == 4 && str_eq(r.text, STR("later")));
    assert_true(code_reply_parse(STR("554"), &r));
    assert_true(r.code == 554 && r.text.n == 0);
    assert_false(code_reply_parse(STR("5500 no"), &r));
    assert_false(code_reply_parse(STR("192.0.2.1 refused"), &r));
    assert_false(code_reply_parse(STR("5.1.1 no such user"), &r));
    assert_true(r.esc.subject == 1 && str_eq(r.text, STR("no such user")));
    assert_false(code_reply_parse(STR(""), &r));
    assert_true(r.text.n == 0 && r.esc.class == 0);
}

/* Whatever is cut off and however long it is, there is an answer. */
static void any_part(void **state)
{
    UNUSED(state);
    struct str s = STR("550-5.1.1 <joe@example.com>: \0\xff user\nunknown (over * quota_) 5.1.1 @@@ @");
    for (size_t from = 0; from <= s.n; from++) {
        for (size_t to = from; to <= s.n; to++) {
            struct code_reply r = {.code = 550, .esc = ESC(5, 7, 1), .text = str_slice(s, from, to)};
            assert_true(code_classify(&r).class < CODE_CLASSES_N);
        }
    }
    static char big[2 * CODE_TEXT_MAX];
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = i % 2 == 0 ? '@' : '\n';
    struct code_reply r = {.code = 550, .text = str_of(big, sizeof big)};
    assert_int_equal(code_classify(&r).class, CODE_POLICY);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = 'a';
    assert_int_equal(code_classify(&r).class, CODE_POLICY);
}

static void words(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < CODE_CLASSES_N; i++) {
        enum code_class c;
        assert_true(code_class_parse(str_from_c(code_class_word(i)), &c));
        assert_int_equal(c, i);
        bool is_met = false;
        for (size_t k = 0; k < ARRAY_LEN(rows); k++)
            is_met = is_met || rows[k].want == c;
        assert_true(is_met || c == CODE_LOCAL_TROUBLE); /* a row of each */
    }
    enum code_class c;
    assert_false(code_class_parse(STR("no-such"), &c));
    assert_string_equal(code_class_word(255), "other");
    assert_true(code_class_is_hard(CODE_UNKNOWN_USER) && !code_class_is_hard(CODE_MAILBOX_FULL));
    assert_int_equal(code_class_about(CODE_BLOCKED_IP), CODE_ABOUT_US);
}

static void read_file(const char *path, struct buf *out)
{
    char mem[4096];
    size_t n;
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        fail_msg("can't open %s", path);
    while ((n = fread(mem, 1, sizeof mem, f)) > 0)
        assert_true(buf_put(out, str_of(mem, n)));
    (void)fclose(f);
}

/* docs/codes.md holds what the tables say, octet by octet. */
static void page(void **state)
{
    UNUSED(state);
    static const char begin[] = "<!-- begin of the part that codes_doc prints -->\n";
    static const char end[] = "<!-- end of the part that codes_doc prints -->\n";
    struct buf doc, wanted;
    buf_init(&doc, 1 << 20);
    buf_init(&wanted, 1 << 20);
    read_file(WAXWING_ROOT "/docs/codes.md", &doc);
    codes_doc(&wanted);
    assert_false(wanted.failed);
    size_t from = str_find(buf_str(&doc), str_from_c(begin)), to = str_find(buf_str(&doc), str_from_c(end));
    assert_true(from != STR_NPOS && to != STR_NPOS && from < to);
    if (!str_eq(str_slice(buf_str(&doc), from + sizeof begin - 1, to), buf_str(&wanted)))
        fail_msg("docs/codes.md differs from the tables: put in what src/wire/codes_doc prints");
    buf_fini(&doc);
    buf_fini(&wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_replies), cmocka_unit_test(form_says_nothing),
        cmocka_unit_test(how_sure),     cmocka_unit_test(our_own),
        cmocka_unit_test(reply_parse),  cmocka_unit_test(any_part),
        cmocka_unit_test(words),        cmocka_unit_test(page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
