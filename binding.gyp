# The addon, the CPU backend and the driver's probe for node-gyp: the same sources and flags as CMakeLists.txt, which builds
# the other backends too. Run by scripts/build-gyp.sh in a folder of its own (node-gyp empties `build`).
{
  'variables': {
    'dnnl_libs%': '-ldnnl',
    # Not -ffast-math, as native/cpu/CMakeLists.txt says.
    'loops': ['-O3', '-fopenmp-simd', '-fno-math-errno', '-fno-trapping-math', '-ffp-contract=fast'],
    # All but the file that chooses between the instruction sets.
    'kernels': ['<!@(ls native/cpu/kernels/*.cc | grep -v /select.cc)'],
    'carried_cxx': ['-static-libstdc++', '-Wl,--exclude-libs,libstdc++.a', '-Wl,--gc-sections'],
  },
  'target_defaults': {
    'default_configuration': 'Release',
    'include_dirs': ['native/include'],
    'cflags': ['-fPIC', '-fvisibility=hidden', '-Wno-unused-parameter'],
    'cflags_cc': ['-std=c++17', '-fvisibility-inlines-hidden'],
    'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20'],
    'defines': ['NDEBUG'],
  },
  'conditions': [
    ['target_arch=="x64"', {
      'variables': {'isas': ['cpu_avx512', 'cpu_avx2', 'cpu_baseline']},
      'targets': [
        {
          'target_name': 'cpu_avx512',
          'type': 'static_library',
          'sources': ['<@(kernels)'],
          'defines': ['DW_ISA=avx512'],
          'cflags': ['<@(loops)', '-march=x86-64-v4', '-mprefer-vector-width=512'],
        },
        {
          'target_name': 'cpu_avx2',
          'type': 'static_library',
          'sources': ['<@(kernels)'],
          'defines': ['DW_ISA=avx2'],
          'cflags': ['<@(loops)', '-march=x86-64-v3'],
        },
        {
          'target_name': 'cpu_baseline',
          'type': 'static_library',
          'sources': ['<@(kernels)'],
          'defines': ['DW_ISA=baseline'],
          'cflags': ['<@(loops)', '-march=x86-64-v2'],
        },
      ],
    }, {
      'variables': {'isas': ['cpu_baseline']},
      'targets': [
        {
          'target_name': 'cpu_baseline',
          'type': 'static_library',
          'sources': ['<@(kernels)'],
          'defines': ['DW_ISA=baseline'],
          'cflags': ['<@(loops)'],
        },
      ],
    }],
  ],
  'targets': [
    {
      'target_name': 'depthwise_cpu',
      'type': 'shared_library',
      'product_prefix': 'lib',
      'product_extension': 'so',
      'product_dir': '<(PRODUCT_DIR)',
      'dependencies': ['<@(isas)'],
      'sources': ['<!@(ls native/cpu/*.cc)', 'native/cpu/kernels/select.cc'],
      'include_dirs': ['native/cpu'],
      'cflags': ['-fopenmp'],
      'ldflags': [
        '-fopenmp',
        '-Wl,--version-script=<(module_root_dir)/native/cpu/exports.map',
        '-Wl,--no-undefined',
        '-Wl,--disable-new-dtags',
        "-Wl,-rpath,'$$ORIGIN'",
      ],
      'libraries': ['<(dnnl_libs)'],
    },
    {
      'target_name': 'depthwise',
      'type': 'loadable_module',
      'sources': ['<!@(ls native/addon/*.cc native/runtime/*.cc)'],
      'include_dirs': ['native/runtime', 'node_modules/node-api-headers/include', 'node_modules/node-addon-api'],
      'defines': [
        'NAPI_VERSION=8',
        'NAPI_CPP_EXCEPTIONS',
        'NODE_ADDON_API_DISABLE_DEPRECATED',
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
      ],
      'ldflags': ['<@(carried_cxx)'],
      'libraries': ['-ldl'],
    },
    {
      'target_name': 'depthwise_probe',
      'type': 'executable',
      'sources': ['native/probe/probe.cc'],
      'ldflags': ['<@(carried_cxx)'],
      'libraries': ['-ldl'],
    },
  ],
}
