/* ext/json_bounds.h: what readers of hostile JSON do before jansson sees it, since it recurses for each level
 * and takes memory for each value. Owns nothing, never fails. */
#pragma once
#include "base/str.h"

/* Are there at most so many levels of objects and arrays, and commas and brackets? Not whether it is JSON. */
bool json_is_bounded(struct str s, size_t depth_max, size_t values_max);
/* Before the first JSON of a process, and before its sandbox closes: without it jansson opens a file for a
 * seed of its hash tables. Later calls do nothing. */
void json_seed(uint64_t seed);
