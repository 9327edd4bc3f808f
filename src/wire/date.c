/* wire/date.c: dates without the C library's time zones and locales. */
#include "wire/date.h"

static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

struct civil {
    int64_t year;
    unsigned month, day; /* 1.. */
    unsigned hour, minute, second, weekday;
};

/* Proleptic Gregorian calendar by counting 400-year eras from 0000-03-01. */
static struct civil civil_of(int64_t t)
{
    int64_t d = t / 86400, s = t % 86400;
    if (s < 0) {
        s += 86400;
        d--;
    }
    struct civil c = {.hour = (unsigned)(s / 3600), .minute = (unsigned)(s / 60 % 60), .second = (unsigned)(s % 60)};
    c.weekday = (unsigned)(((d + 4) % 7 + 7) % 7);
    int64_t z = d + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    c.day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    c.month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
    c.year = yoe + era * 400 + (c.month <= 2 ? 1 : 0);
    return c;
}

static int64_t days_of(int64_t y, unsigned m, unsigned d)
{
    y -= m <= 2 ? 1 : 0;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (int64_t)(m > 2 ? m - 3 : m + 9) + 2) / 5 + (int64_t)d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

void date_format_rfc5322(int64_t unix_s, struct buf *out)
{
    struct civil c = civil_of(unix_s);
    buf_printf(out, "%s, %u %s %04lld %02u:%02u:%02u +0000", days[c.weekday], c.day, months[c.month - 1],
               (long long)c.year, c.hour, c.minute, c.second);
}

void date_format_rfc3339(int64_t unix_ms, bool with_ms, struct buf *out)
{
    int64_t s = unix_ms / 1000, ms = unix_ms % 1000;
    if (ms < 0) {
        ms += 1000;
        s--;
    }
    struct civil c = civil_of(s);
    buf_printf(out, "%04lld-%02u-%02uT%02u:%02u:%02u", (long long)c.year, c.month, c.day, c.hour, c.minute, c.second);
    if (with_ms)
        buf_printf(out, ".%03u", (unsigned)ms);
    buf_putc(out, 'Z');
}

static void skip_space(struct str *s)
{
    while (s->n > 0 && (s->p[0] == ' ' || s->p[0] == '\t' || s->p[0] == '\r' || s->p[0] == '\n'))
        *s = str_skip(*s, 1);
}

static bool take_number(struct str *s, size_t digits_max, uint64_t *out)
{
    skip_space(s);
    size_t n = 0;
    while (n < s->n && n < digits_max && ascii_is_digit(s->p[n]))
        n++;
    bool ok = str_to_u64(str_slice(*s, 0, n), UINT32_MAX, out);
    *s = str_skip(*s, n);
    return ok;
}

static bool take_char(struct str *s, char c)
{
    skip_space(s);
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = str_skip(*s, 1);
    return true;
}

static struct str take_word(struct str *s)
{
    size_t n = 0;
    skip_space(s);
    while (n < s->n && ascii_is_alpha(s->p[n]))
        n++;
    struct str w = str_slice(*s, 0, n);
    *s = str_skip(*s, n);
    return w;
}

/* Minutes east of UTC; RFC 5322 4.3 says what the old names mean, unknown ones are UTC. */
static bool take_zone(struct str *s, int64_t *out)
{
    static const struct {
        const char *name;
        int minutes;
    } zones[] = {{"EST", -300}, {"EDT", -240}, {"CST", -360}, {"CDT", -300}, {"MST", -420}, {"MDT", -360}, {"PST", -480}, {"PDT", -420}};
    uint64_t v;
    *out = 0;
    skip_space(s);
    if (s->n > 0 && (s->p[0] == '+' || s->p[0] == '-')) {
        bool west = s->p[0] == '-';
        struct str digits = str_slice(*s, 1, 5);
        if (digits.n != 4 || !str_to_u64(digits, 9999, &v) || v % 100 > 59)
            return false;
        *out = (int64_t)(v / 100 * 60 + v % 100) * (west ? -1 : 1);
        return true;
    }
    struct str w = take_word(s);
    for (size_t i = 0; i < ARRAY_LEN(zones); i++) {
        if (str_ieq(w, str_from_c(zones[i].name)))
            *out = zones[i].minutes;
    }
    return w.n > 0;
}

bool date_parse_rfc5322(struct str s, int64_t *out_unix_s)
{
    uint64_t day, year, hour, minute, second = 0;
    int64_t zone;
    unsigned month = 0;
    size_t comma = str_chr(s, ',');
    if (comma != STR_NPOS)
        s = str_skip(s, comma + 1);
    if (!take_number(&s, 2, &day) || day < 1 || day > 31)
        return false;
    struct str name = take_word(&s);
    for (unsigned i = 0; i < 12; i++) {
        if (str_ieq(name, str_from_c(months[i])))
            month = i + 1;
    }
    size_t before = s.n;
    if (month == 0 || !take_number(&s, 4, &year) || year > 9999)
        return false;
    if (before - s.n <= 4 && year < 1000) /* two or three digits, RFC 5322 4.3 */
        year += year < 50 ? 2000 : 1900;
    if (!take_number(&s, 2, &hour) || hour > 23 || !take_char(&s, ':') || !take_number(&s, 2, &minute) || minute > 59)
        return false;
    if (take_char(&s, ':') && (!take_number(&s, 2, &second) || second > 60))
        return false;
    if (!take_zone(&s, &zone))
        return false;
    *out_unix_s = days_of((int64_t)year, month, (unsigned)day) * 86400 + (int64_t)(hour * 3600 + minute * 60 + second) - zone * 60;
    return true;
}
