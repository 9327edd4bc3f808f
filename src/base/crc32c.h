/* base/crc32c.h: CRC-32C (Castagnoli), the checksum of stored batches. Uses SSE4.2 where the CPU has it. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Start with crc = 0; feed pieces in order. crc32c(0, "123456789", 9) is 0xe3069283. */
uint32_t crc32c(uint32_t crc, const void *data, size_t n);
