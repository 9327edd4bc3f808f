#include "ext/json_bounds.h"

#include <jansson.h>

void json_seed(uint64_t seed)
{
    json_object_seed(seed == 0 ? 1 : (size_t)seed); /* 0 asks jansson to find one by itself */
}

bool json_is_bounded(struct str s, size_t depth_max, size_t values_max)
{
    size_t depth = 0, n_values = 0;
    bool in_text = false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (in_text) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_text = false;
            continue;
        }
        in_text = c == '"';
        if (c == '[' || c == '{')
            depth++;
        if ((c == ']' || c == '}') && depth > 0)
            depth--;
        n_values += c == '[' || c == '{' || c == ',';
        if (depth > depth_max || n_values > values_max)
            return false;
    }
    return true;
}
