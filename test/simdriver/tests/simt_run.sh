#!/bin/sh
# Builds and runs the SIMT layer's own tests in both tiers: simt_run.sh [folder for objects]
set -e
root=$(cd "$(dirname "$0")/../../.." && pwd)
out=${1:-"$root/build/simt"}
cxx=${CXX:-g++}
mkdir -p "$out/fast" "$out/checked"
common="-std=c++20 -g -ffp-contract=off -Wall -Wextra -Wno-unknown-pragmas -I$root/kernels -I$root/test/simdriver -I$root/test/simdriver/tests"
checked="-O1 -fsanitize=thread --param tsan-instrument-func-entry-exit=0 -fno-tree-sra -fno-ipa-sra -fno-thread-jumps -Wno-deprecated-copy"
{
  for source in "$root"/test/simdriver/simt/*.cpp "$root"/test/simdriver/simt/check/*.cpp "$root"/test/simdriver/tests/simt_*.cpp; do
    echo "$cxx $common -O2 -c $source -o $out/$(basename "$source" .cpp).o"
  done
  for source in "$root"/test/simdriver/tests/simt_*.cu; do
    name=$(basename "$source" .cu)
    echo "$cxx $common -O2 -x c++ -c $source -o $out/fast/$name.o"
    echo "$cxx $common $checked -x c++ -c $source -o $out/checked/$name.o"
  done
} | xargs -P 2 -I{} sh -c '{}'
for tier in fast checked; do
  "$cxx" "$out"/*.o "$out/$tier"/*.o -o "$out/simt_$tier" -lpthread -ldl
  "$out/simt_$tier"
done
