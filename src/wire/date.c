#include "wire/date.h"

/* 0000-01-01 and 9999-12-31T23:59:59 */
#define FIRST_S INT64_C(-62167219200)
#define LAST_S INT64_C(253402300799)
enum { DAY_S = 86400, ERA_YEARS = 400, ERA_DAYS = 146097, EPOCH_DAY = 719468, COMMENT_DEPTH_MAX = 100 };

static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char weekdays[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

struct civil {
    int year;
    unsigned month, day; /* from 1 */
    unsigned hour, minute, second;
    unsigned weekday; /* 0: Sunday */
};

/* The Gregorian calendar, also before its time. Years are counted from March, so that the leap day is the
 * last of its year and months have a regular pattern; EPOCH_DAY is 1970-01-01 counted from 0000-03-01. unix_s
 * >= FIRST_S. */
static struct civil civil_of(int64_t unix_s)
{
    int64_t since = unix_s - FIRST_S;
    unsigned second = (unsigned)(since % DAY_S);
    int64_t day = since / DAY_S + FIRST_S / DAY_S;
    int64_t n = day + EPOCH_DAY +
                ERA_DAYS; /* one era more, so that January and February of year 0 are not negative */
    int64_t era = n / ERA_DAYS;
    int64_t of_era = n % ERA_DAYS;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned month = (unsigned)((5 * of_year + 2) / 153); /* 0: March */
    struct civil c = {
        .month = month < 10 ? month + 3 : month - 9,
        .day = (unsigned)(of_year - (153 * month + 2) / 5) + 1,
        .hour = second / 3600,
        .minute = second / 60 % 60,
        .second = second % 60,
        .weekday = (unsigned)((n + 3) % 7), /* 0000-03-01 was a Wednesday, and an era has whole weeks */
    };
    c.year = (int)(year + (era - 1) * ERA_YEARS + (c.month <= 2));
    return c;
}

/* Days since 1970-01-01; year from 0. */
static int64_t day_of(int64_t year, unsigned month, unsigned day)
{
    year += ERA_YEARS - (month <= 2);
    int64_t of_era = year % ERA_YEARS;
    int64_t of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return (year / ERA_YEARS - 1) * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAY;
}

static int64_t clamp(int64_t unix_s)
{
    return unix_s < FIRST_S ? FIRST_S : unix_s > LAST_S ? LAST_S : unix_s;
}

void date_format_rfc5322(int64_t unix_s, struct buf *out)
{
    struct civil c = civil_of(clamp(unix_s));
    buf_printf(out, "%s, %02u %s %04d %02u:%02u:%02u +0000", weekdays[c.weekday], c.day, months[c.month - 1],
               c.year, c.hour, c.minute, c.second);
}

void date_format_rfc3339(int64_t unix_ms, bool with_ms, struct buf *out)
{
    int64_t s = unix_ms / 1000 - (unix_ms % 1000 < 0);
    unsigned ms = (unsigned)(unix_ms - s * 1000);
    if (s != clamp(s)) {
        ms = s < 0 ? 0 : 999;
        s = clamp(s);
    }
    struct civil c = civil_of(s);
    buf_printf(out, "%04d-%02u-%02uT%02u:%02u:%02u", c.year, c.month, c.day, c.hour, c.minute, c.second);
    if (with_ms)
        buf_printf(out, ".%03u", ms);
    buf_putc(out, 'Z');
}

/* Folding white space and comments (RFC 5322 3.2.2). False: a comment has no end. */
static bool skip_cfws(struct str *s)
{
    size_t depth = 0;
    while (s->n > 0) {
        char c = s->p[0];
        if (depth > 0 && c == '\\' && s->n > 1)
            *s = str_skip(*s, 1);
        else if (c == '(' && depth < COMMENT_DEPTH_MAX)
            depth++;
        else if (c == ')' && depth > 0)
            depth--;
        else if (depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n')
            break;
        *s = str_skip(*s, 1);
    }
    return depth == 0;
}

/* Between min and max digits, with no further digit behind. *out_digits may be NULL. */
static bool take_number(struct str *s, size_t digits_min, size_t digits_max, unsigned *out,
                        size_t *out_digits)
{
    size_t n = 0;
    uint64_t v;
    if (!skip_cfws(s))
        return false;
    while (n < s->n && ascii_is_digit(s->p[n]))
        n++;
    if (n < digits_min || n > digits_max || !str_to_u64(str_slice(*s, 0, n), UINT32_MAX, &v))
        return false;
    *s = str_skip(*s, n);
    *out = (unsigned)v;
    if (out_digits != NULL)
        *out_digits = n;
    return true;
}

static bool take_char(struct str *s, char c)
{
    if (!skip_cfws(s) || s->n == 0 || s->p[0] != c)
        return false;
    *s = str_skip(*s, 1);
    return true;
}

static struct str take_word(struct str *s)
{
    size_t n = 0;
    if (!skip_cfws(s))
        return STR_NIL;
    while (n < s->n && ascii_is_alpha(s->p[n]))
        n++;
    struct str word = str_slice(*s, 0, n);
    *s = str_skip(*s, n);
    return word;
}

/* Index of a name in a table of n, or n. */
static unsigned find_name(const char (*names)[4], unsigned n, struct str name)
{
    unsigned i = 0;
    while (i < n && !str_ieq(name, str_from_c(names[i])))
        i++;
    return i;
}

/* Minutes east of UTC. RFC 5322 4.3: the North American names mean what they say, others are as good as UTC.
 */
static bool take_zone(struct str *s, int *out_minutes)
{
    static const char names[][4] = {"EST", "EDT", "CST", "CDT", "MST", "MDT", "PST", "PDT"};
    static const int hours[] = {-5, -4, -6, -5, -7, -6, -8, -7};
    *out_minutes = 0;
    bool is_west = take_char(s, '-');
    if (is_west || take_char(s, '+')) {
        unsigned v;
        if (s->n == 0 || !ascii_is_digit(s->p[0]) || !take_number(s, 4, 4, &v, NULL) || v % 100 > 59)
            return false;
        *out_minutes = (int)(v / 100 * 60 + v % 100) * (is_west ? -1 : 1);
        return true;
    }
    struct str name = take_word(s);
    unsigned i = find_name(names, ARRAY_LEN(names), name);
    if (i < ARRAY_LEN(names))
        *out_minutes = hours[i] * 60;
    return name.n > 0;
}

static bool take_year(struct str *s, unsigned *out)
{
    size_t digits;
    if (!take_number(s, 2, 4, out, &digits))
        return false;
    if (digits == 2)
        *out += *out < 50 ? 2000 : 1900;
    else if (digits == 3)
        *out += 1900;
    return true;
}

static bool take_date(struct str *s, int64_t *out_day)
{
    unsigned day, year;
    struct str word = take_word(s);
    if (word.n > 0 &&
        (find_name(weekdays, ARRAY_LEN(weekdays), word) == ARRAY_LEN(weekdays) || !take_char(s, ',')))
        return false;
    if (!take_number(s, 1, 2, &day, NULL))
        return false;
    unsigned month = find_name(months, ARRAY_LEN(months), take_word(s)) + 1;
    if (month > ARRAY_LEN(months) || !take_year(s, &year) || day == 0)
        return false;
    *out_day = day_of(year, month, day);
    struct civil c = civil_of(*out_day * DAY_S);
    return c.month == month && c.day == day; /* no 30 February */
}

static bool take_time(struct str *s, unsigned *out_second)
{
    unsigned hour, minute, second = 0;
    if (!take_number(s, 2, 2, &hour, NULL) || hour > 23 || !take_char(s, ':') ||
        !take_number(s, 2, 2, &minute, NULL) || minute > 59)
        return false;
    if (take_char(s, ':') && (!take_number(s, 2, 2, &second, NULL) || second > 60))
        return false;
    *out_second = (hour * 60 + minute) * 60 + second;
    return true;
}

bool date_parse_rfc5322(struct str s, int64_t *out_unix_s)
{
    int64_t day;
    unsigned second;
    int zone;
    if (!take_date(&s, &day) || !take_time(&s, &second) || !take_zone(&s, &zone) || !skip_cfws(&s) || s.n > 0)
        return false;
    *out_unix_s = day * DAY_S + second - (int64_t)zone * 60;
    return true;
}

/* ---- RFC 3339 ------------------------------------------------------------------------------------------ */

/* n digits and then the character c (0: none). No comments and spaces here. */
static bool take_fixed(struct str *s, size_t n, char c, unsigned *out)
{
    uint64_t v;
    size_t all = n + (c != 0);
    if (s->n < all || (c != 0 && ascii_lower(s->p[n]) != c) || !str_to_u64(str_slice(*s, 0, n), 9999, &v))
        return false;
    *out = (unsigned)v;
    *s = str_skip(*s, all);
    return true;
}

/* Seconds east of UTC; all of s. */
static bool take_offset(struct str s, int64_t *out)
{
    unsigned hour, minute;
    if (s.n == 1 && ascii_lower(s.p[0]) == 'z') {
        *out = 0;
        return true;
    }
    bool is_west = str_starts(s, STR("-"));
    if (!is_west && !str_starts(s, STR("+")))
        return false;
    s = str_skip(s, 1);
    if (!take_fixed(&s, 2, ':', &hour) || !take_fixed(&s, 2, 0, &minute) || s.n > 0 || hour > 23 ||
        minute > 59)
        return false;
    *out = (int64_t)(hour * 60 + minute) * (is_west ? -60 : 60);
    return true;
}

static bool skip_fraction(struct str *s)
{
    size_t n = 1;
    if (!str_starts(*s, STR(".")))
        return true;
    while (n < s->n && ascii_is_digit(s->p[n]))
        n++;
    *s = str_skip(*s, n);
    return n > 1;
}

bool date_parse_rfc3339(struct str s, int64_t *out_unix_s)
{
    unsigned year, month, day, hour, minute, second;
    int64_t offset;
    if (!take_fixed(&s, 4, '-', &year) || !take_fixed(&s, 2, '-', &month) || !take_fixed(&s, 2, 't', &day) ||
        !take_fixed(&s, 2, ':', &hour) || !take_fixed(&s, 2, ':', &minute) ||
        !take_fixed(&s, 2, 0, &second) || !skip_fraction(&s) || !take_offset(s, &offset))
        return false;
    if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 60)
        return false;
    int64_t on = day_of(year, month, day);
    struct civil c = civil_of(on * DAY_S);
    if (c.month != month || c.day != day) /* no 30 February */
        return false;
    *out_unix_s = on * DAY_S + (hour * 60 + minute) * 60 + second - offset;
    return true;
}
