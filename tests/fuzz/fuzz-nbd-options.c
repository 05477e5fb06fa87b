/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The input is what an NBD client sends, from its flags on: negotiation, and what comes behind it.
 */
#include "tests/fuzz/fuzz-nbd.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_serve(NULL);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_talk(data, size);
    return 0;
}
