// What the simulated driver exports besides the CUDA driver API, for tests (dlsym). See driver/report.hpp for the JSON.
#pragma once

extern "C" {

// Writes the report to `path`, or where null to the file that SIMDRIVER_REPORT names. 0: written; 1: no path; 2: the file
// cannot be written; 3: the driver was not used yet.
int simdriver_report(const char* path);
// Sets counts, findings, trace and high-water marks to zero. What is allocated stays known.
void simdriver_reset_counters();
// What a kernel has done since the start or the last reset, as simt::Counters (simt/counters.hpp) of `bytes` bytes. 0: copied;
// 1: it has not run; 2: another size; 3: the driver was not used yet.
int simdriver_kernel_counters(const char* kernel, void* to, unsigned long long bytes);
// Findings so far, of the driver and of the machine.
unsigned long long simdriver_finding_count();
// Loses the device now, as SIMDRIVER_FAIL=lost:n does at a launch.
void simdriver_lose_device();
// 1: the kernels are instrumented (the checked tier); 0: the fast tier.
int simdriver_checked();

}  // extern "C"
