#include "ipc/events.h"

const char *event_word(unsigned kind)
{
    switch ((enum event_kind)kind) {
#define X(NAME, word)                                                                                        \
    case EVENT_##NAME:                                                                                       \
        return word;
        EVENT_KINDS(X)
#undef X
    case EVENT_NONE:
        break;
    }
    return "unknown";
}
