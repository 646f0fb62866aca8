# DW_KERNELS: a name for our own kernels as they are, for what is kept of their speed. Changes with each of their sources.
# The headers are those that say how work is divided among blocks.
file(GLOB version_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cu ${CMAKE_CURRENT_LIST_DIR}/kernels/*.cuh
  ${CMAKE_CURRENT_LIST_DIR}/channels.h ${CMAKE_CURRENT_LIST_DIR}/launch.h ${CMAKE_CURRENT_LIST_DIR}/pooling.h
  ${CMAKE_CURRENT_LIST_DIR}/slide.h)
set(hashes "")
foreach(source IN LISTS version_sources)
  file(SHA256 ${source} hash)
  string(APPEND hashes ${hash})
endforeach()
string(SHA256 DW_KERNELS "${hashes}")
string(SUBSTRING ${DW_KERNELS} 0 12 DW_KERNELS)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${version_sources})
