# The instruction sets of the processor that is built for, and the flags of their own files.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(avx2 -mavx2 -mfma)
  # GCC takes the undefined vectors of its own AVX-512 header for our mistakes.
  set(avx512 ${avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq
      -Wno-uninitialized -Wno-maybe-uninitialized)
  set(isas avx2 avx_vnni avx512 avx512_vnni amx_int8)
  set(flags_avx2 ${avx2})
  set(flags_avx_vnni ${avx2} -mavxvnni)
  set(flags_avx512 ${avx512})
  set(flags_avx512_vnni ${avx512} -mavx512vnni)
  set(flags_amx_int8 ${avx512} -mavx512vnni -mamx-tile -mamx-int8)
  set(isa_definition SELENOGRAPH_X86)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  set(isas neon)
  set(flags_neon -march=armv8.2-a+dotprod)
  # Scheduled before registers are given out, loads move up until a panel's sums are spilled.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND flags_neon -fno-schedule-insns)
  endif()
  set(isa_definition SELENOGRAPH_ARM)
endif()

# Contraction off: a row's sum must have the same bits whatever the compiler's mood.
set(kernel_flags -Wall -Wextra -ffp-contract=off -fno-math-errno)
