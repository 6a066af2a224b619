# The same addon by node-gyp: `npm run build:gyp`. CMakeLists.txt is the true build; both read native/sources.json and ask
# scripts/kernels.mjs for CUDA: it compiles the kernels while gyp configures, and without nvcc leaves the CUDA backend out.
{
  "targets": [
    {
      "target_name": "splitwiser",
      "variables": { "cuda_include": "<!(node scripts/kernels.mjs include)" },
      "sources": ["<!@(node scripts/kernels.mjs gyp build-kernels/gyp)"],
      "include_dirs": [
        "native",
        "kernels",
        "<!(node -p \"require('path').dirname(require.resolve('node-addon-api/package.json'))\")"
      ],
      "defines": [
        "NAPI_VERSION=9",
        "NAPI_CPP_EXCEPTIONS",
        "NODE_ADDON_API_DISABLE_DEPRECATED",
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"
      ],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
      "cflags!": ["-fno-omit-frame-pointer"],
      "cflags_cc": ["-std=c++20", "-O3", "-Wall", "-Wextra", "-ffp-contract=off", "-fvisibility=hidden", "-fvisibility-inlines-hidden"],
      "configurations": { "Release": { "defines": ["NDEBUG"] } },
      "conditions": [
        ["cuda_include!=''", { "defines": ["SPLITWISER_CUDA=1"], "cflags_cc": ["-isystem", "<(cuda_include)"] }],
        ["OS=='linux'", {
          "ldflags": ["-Wl,--version-script=<(module_root_dir)/native/exports.map", "-Wl,--exclude-libs,ALL"],
          "libraries": ["-ldl", "-pthread"]
        }],
        ["OS=='mac'", {
          "xcode_settings": {
            "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
            "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
            "GCC_ENABLE_CPP_RTTI": "YES",
            "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
            "MACOSX_DEPLOYMENT_TARGET": "12.0",
            "OTHER_CPLUSPLUSFLAGS": ["-ffp-contract=off", "-fvisibility=hidden"]
          }
        }],
        ["OS=='win'", {
          "msvs_settings": {
            "VCCLCompilerTool": {
              "ExceptionHandling": 1,
              "RuntimeTypeInfo": "true",
              "AdditionalOptions": ["/std:c++20", "/utf-8", "/fp:precise"]
            }
          }
        }]
      ]
    }
  ]
}
