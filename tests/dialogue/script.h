/* tests/dialogue/script.h: a dialogue script as a list of steps; README.md tells the format. */
#pragma once
#include "base/buf.h"

enum step_kind {
    STEP_SEND = 1, /* text: octets */
    STEP_LINE,     /* text: glob of one reply line; n of them */
    STEP_LINES_TO, /* text: glob of the last of some lines */
    STEP_CLOSED,
    STEP_EOF,
    STEP_EVENT,  /* word: kind, text: what */
    STEP_ANSWER, /* word: kind, text: id and argument */
    STEP_TICK,   /* n: milliseconds */
    STEP_CLOSE,  /* text: id */
    STEP_SECURED,
};
struct step {
    enum step_kind kind;
    unsigned line;
    uint64_t n;
    struct str word, text; /* borrow from the file's text or from script.literals */
};
enum { SCRIPT_STEPS_MAX = 2000 };
struct script {
    char *file;          /* its text */
    struct buf literals; /* unescaped texts; reserved once, so it does not move */
    bool only_pure, only_real, lmtp, relay;
    struct str conf;
    struct step steps[SCRIPT_STEPS_MAX];
    size_t n_steps;
};

/* Reads a file. false with a message on stdout (as a TAP comment) when it is malformed. */
bool script_load(struct script *s, const char *path);
void script_free(struct script *s);
/* '*' any octets, '?' one octet. */
bool glob_matches(struct str glob, struct str text);
