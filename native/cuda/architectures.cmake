# nvcc's flags for architectures: which PTX the machine code of each is compiled from. Used by the build and, as a script
# that prints them one a line, by scripts/check-cuda.sh: what is checked is what ships.
#
#   cmake "-DARCHITECTURES=75;90;120" -P native/cuda/architectures.cmake
#
# PTX is the costly half of a compilation, and the kernels ask for nothing that came after compute_80, or compute_90:
# architectures share it. It goes into the library too, for drivers to compile for devices that come later.
function(depthwise_gencode architectures flags)
  set(ptx "")
  foreach(architecture IN LISTS architectures)
    if(NOT architecture MATCHES "^[0-9]+$")
      message(FATAL_ERROR "\"${architecture}\" is no architecture of CUDA: 90, or several as 80;90")
    endif()
    if(architecture MATCHES "^(80|86|89)$")
      set(from 80)
    elseif(architecture MATCHES "^(90|100|120)$")
      set(from 90)
    else()
      set(from ${architecture})
    endif()
    list(APPEND ptx ${from})
    list(APPEND code_${from} sm_${architecture})
  endforeach()
  list(REMOVE_DUPLICATES ptx)
  list(SORT ptx COMPARE NATURAL)
  set(found "")
  foreach(from IN LISTS ptx)
    list(REMOVE_DUPLICATES code_${from})
    list(JOIN code_${from} "," code)
    list(APPEND found "-gencode=arch=compute_${from},code=[compute_${from},${code}]")
  endforeach()
  set(${flags} "${found}" PARENT_SCOPE)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  depthwise_gencode("${ARCHITECTURES}" flags)
  foreach(flag IN LISTS flags)
    execute_process(COMMAND ${CMAKE_COMMAND} -E echo ${flag})  # message() would write to stderr
  endforeach()
endif()
