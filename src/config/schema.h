/* config/schema.h: every key of waxwing.lua, once: for the check, for "did you mean", for the manual, for
 * completion. */
#pragma once
#include "config/config.h"

enum schema_type {
    SCHEMA_TEXT = 0,
    SCHEMA_PATH,
    SCHEMA_BOOL,
    SCHEMA_COUNT, /* a whole number */
    SCHEMA_PORT,
    SCHEMA_SIZE,     /* octets, or "50M" */
    SCHEMA_DURATION, /* seconds, or "5m" */
    SCHEMA_CHOICE,   /* one of the words in `form`, its place is the value */
    SCHEMA_LIST,     /* { "a", "b" } */
    SCHEMA_SECTION,  /* { key = value }: keys of the section of that name */
    SCHEMA_VALUE,    /* something of its own; `form` says what */
};

struct schema_key {
    const char
        *section; /* "" for facts, "value" for the words that make values, else the fact that takes the key */
    const char *name;
    enum schema_type type;
    bool required;
    const char *form;     /* how it is written, after the name */
    const char *preset;   /* the default as it would be written, or NULL */
    uint64_t min, max;    /* of COUNT, PORT, SIZE, DURATION; of CHOICE the last place */
    size_t offset, width; /* the member of struct config that a number goes to; width 0: none */
    const char *doc;      /* one sentence or more, mdoc-safe */
};

/* The i-th row, or NULL behind the last: rows of a section stand together. */
const struct schema_key *schema_at(size_t i);
const struct schema_key *schema_find(struct str section, struct str name);
/* A word of later versions of Waxwing: known, and not in this one. */
bool schema_is_future(struct str section, struct str name);
/* Of a name that belongs into another place: what is to be written there, for people; or NULL. */
const char *schema_elsewhere(struct str section, struct str name);
/* The name in the section nearest to a mistyped one, or NULL when none is near. */
const char *schema_suggest(struct str section, struct str name);
/* Changes that make b of a: inserted, dropped, other, or swapped with its neighbour; at most 99. Case folded.
 */
unsigned schema_distance(struct str a, struct str b);
/* The place of a word in a CHOICE's form ("text | json"), or STR_NPOS. */
size_t schema_choice(const struct schema_key *k, struct str word);
/* A number that this key takes, from its text; false when it can't be read or is out of range. */
MUST_USE bool schema_number(const struct schema_key *k, struct str text, uint64_t *out);
MUST_USE bool schema_in_range(const struct schema_key *k, uint64_t v);
/* "1 to 32", "1m to 30d". */
void schema_put_range(const struct schema_key *k, struct buf *out);
/* The number of a row with width > 0 in c. */
void schema_set(const struct schema_key *k, struct config *c, uint64_t v);
uint64_t schema_get(const struct schema_key *k, const struct config *c);
/* Every default into c. */
void schema_presets(struct config *c);
