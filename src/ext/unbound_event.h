/* ext/unbound_event.h: libunbound's pluggable event base on io/world_io.h. */
#pragma once
#include "io/world_io.h"

struct ub_event_base;

/* NULL without memory. For ub_ctx_create_ub_event(). */
struct ub_event_base *unbound_event_base_new(struct io_world *w);
/* The contexts made with it must be gone. Clears *b. */
void unbound_event_base_del(struct ub_event_base **b);
