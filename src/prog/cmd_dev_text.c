/* prog/cmd_dev_text.c: character sets that wire/charset.h leaves to the C library. */
#include "prog/cmd_dev.h"
#include "wire/charset.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>

/* What a message names never reaches iconv_open(), which loads code by it: only these do. */
static const char *const known[] = {
    "iso-8859-2",   "iso-8859-3",   "iso-8859-4",   "iso-8859-5",   "iso-8859-6",   "iso-8859-7",
    "iso-8859-8",   "iso-8859-9",   "iso-8859-10",  "iso-8859-13",  "iso-8859-14",  "iso-8859-16",
    "windows-1250", "windows-1251", "windows-1253", "windows-1254", "windows-1255", "windows-1256",
    "windows-1257", "windows-1258", "koi8-r",       "koi8-u",       "shift_jis",    "euc-jp",
    "iso-2022-jp",  "gb2312",       "gbk",          "gb18030",      "big5",         "euc-kr",
    "utf-16",       "utf-16le",     "utf-16be",     "utf-7",
};

/* false: no more of it can be converted. */
static bool convert_piece(iconv_t cd, char **from, size_t *left, struct buf *out)
{
    char piece[4096];
    char *to = piece;
    size_t room = sizeof piece;
    size_t r = iconv(cd, from, left, &to, &room);
    int errnum = r == (size_t)-1 ? errno : 0;
    buf_put(out, str_of(piece, sizeof piece - room));
    if (errnum == EILSEQ || errnum == EINVAL) { /* no character, or the text ends within one */
        buf_put(out, STR("\xef\xbf\xbd"));
        (*from)++;
        (*left)--;
        return true;
    }
    return errnum == 0 || errnum == E2BIG;
}

static bool to_utf8(void *arg, struct str charset, struct str in, struct buf *out)
{
    const char *name = NULL;
    UNUSED(arg);
    for (size_t i = 0; i < ARRAY_LEN(known) && name == NULL; i++)
        name = str_ieq(charset, str_from_c(known[i])) ? known[i] : NULL;
    iconv_t cd = name == NULL ? (iconv_t)-1 : iconv_open("UTF-8", name);
    if (cd == (iconv_t)-1)
        return false;
    char *from; /* iconv() writes nothing there, it only lacks the word const */
    size_t left = in.n;
    memcpy(&from, &in.p, sizeof from);
    while (left > 0 && !out->failed && convert_piece(cd, &from, &left, out)) {
    }
    /* what waited for a character that might have combined with it */
    char rest[64];
    char *to = rest;
    size_t room = sizeof rest;
    (void)iconv(cd, NULL, NULL, &to, &room);
    buf_put(out, str_of(rest, sizeof rest - room));
    (void)iconv_close(cd);
    return true;
}

const struct charset_more dev_charsets = {NULL, to_utf8};
