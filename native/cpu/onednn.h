// oneDNN 2.x and 3.x behind one set of names: the two differ in how primitive descriptors are made, and only
// there.
#ifndef DEPTHWISE_CPU_ONEDNN_H
#define DEPTHWISE_CPU_ONEDNN_H

#include <oneapi/dnnl/dnnl.hpp>

namespace dw::cpu {
namespace onednn {

// Strides, dilations (1: dense) and explicit padding of a convolution, each {height, width}.
struct Geometry {
  dnnl::memory::dims strides;
  dnnl::memory::dims dilations;
  dnnl::memory::dims before;
  dnnl::memory::dims after;

  // oneDNN counts the holes between the taps.
  dnnl::memory::dims holes() const { return {dilations[0] - 1, dilations[1] - 1}; }
};

using Desc = dnnl::memory::desc;

#if DNNL_VERSION_MAJOR >= 3

inline dnnl::convolution_forward::primitive_desc convolutionForward(const dnnl::engine& engine,
                                                                    const Desc& src, const Desc& weights,
                                                                    const Desc& dst, const Geometry& geometry,
                                                                    const dnnl::primitive_attr& attributes) {
  return dnnl::convolution_forward::primitive_desc(
      engine, dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, src, weights, dst,
      geometry.strides, geometry.holes(), geometry.before, geometry.after, attributes);
}

inline dnnl::convolution_forward::primitive_desc convolutionForward(const dnnl::engine& engine,
                                                                    const Desc& src, const Desc& weights,
                                                                    const Desc& bias, const Desc& dst,
                                                                    const Geometry& geometry,
                                                                    const dnnl::primitive_attr& attributes) {
  return dnnl::convolution_forward::primitive_desc(
      engine, dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct, src, weights, bias,
      dst, geometry.strides, geometry.holes(), geometry.before, geometry.after, attributes);
}

inline void appendRelu(dnnl::post_ops& epilogue) {
  epilogue.append_eltwise(dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
}

inline dnnl::convolution_backward_data::primitive_desc convolutionBackwardData(
    const dnnl::engine& engine, const Desc& diffSrc, const Desc& weights, const Desc& diffDst,
    const Geometry& geometry, const dnnl::primitive_attr& attributes,
    const dnnl::convolution_forward::primitive_desc& hint) {
  return dnnl::convolution_backward_data::primitive_desc(engine, dnnl::algorithm::convolution_direct, diffSrc,
                                                         weights, diffDst, geometry.strides, geometry.holes(),
                                                         geometry.before, geometry.after, hint, attributes);
}

inline dnnl::convolution_backward_weights::primitive_desc convolutionBackwardWeights(
    const dnnl::engine& engine, const Desc& src, const Desc& diffWeights, const Desc& diffDst,
    const Geometry& geometry, const dnnl::primitive_attr& attributes,
    const dnnl::convolution_forward::primitive_desc& hint) {
  return dnnl::convolution_backward_weights::primitive_desc(
      engine, dnnl::algorithm::convolution_direct, src, diffWeights, diffDst, geometry.strides,
      geometry.holes(), geometry.before, geometry.after, hint, attributes);
}

inline dnnl::matmul::primitive_desc matmul(const dnnl::engine& engine, const Desc& a, const Desc& b,
                                           const Desc& c, const dnnl::primitive_attr& attributes) {
  return dnnl::matmul::primitive_desc(engine, a, b, c, attributes);
}

#else

inline dnnl::convolution_forward::primitive_desc convolutionForward(const dnnl::engine& engine,
                                                                    const Desc& src, const Desc& weights,
                                                                    const Desc& dst, const Geometry& geometry,
                                                                    const dnnl::primitive_attr& attributes) {
  const dnnl::convolution_forward::desc desc(
      dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, src, weights, dst,
      geometry.strides, geometry.holes(), geometry.before, geometry.after);
  return dnnl::convolution_forward::primitive_desc(desc, attributes, engine);
}

inline dnnl::convolution_forward::primitive_desc convolutionForward(const dnnl::engine& engine,
                                                                    const Desc& src, const Desc& weights,
                                                                    const Desc& bias, const Desc& dst,
                                                                    const Geometry& geometry,
                                                                    const dnnl::primitive_attr& attributes) {
  const dnnl::convolution_forward::desc desc(
      dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct, src, weights, bias, dst,
      geometry.strides, geometry.holes(), geometry.before, geometry.after);
  return dnnl::convolution_forward::primitive_desc(desc, attributes, engine);
}

inline void appendRelu(dnnl::post_ops& epilogue) {
  epilogue.append_eltwise(1.0f, dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
}

inline dnnl::convolution_backward_data::primitive_desc convolutionBackwardData(
    const dnnl::engine& engine, const Desc& diffSrc, const Desc& weights, const Desc& diffDst,
    const Geometry& geometry, const dnnl::primitive_attr& attributes,
    const dnnl::convolution_forward::primitive_desc& hint) {
  const dnnl::convolution_backward_data::desc desc(dnnl::algorithm::convolution_direct, diffSrc, weights,
                                                   diffDst, geometry.strides, geometry.holes(),
                                                   geometry.before, geometry.after);
  return dnnl::convolution_backward_data::primitive_desc(desc, attributes, engine, hint);
}

inline dnnl::convolution_backward_weights::primitive_desc convolutionBackwardWeights(
    const dnnl::engine& engine, const Desc& src, const Desc& diffWeights, const Desc& diffDst,
    const Geometry& geometry, const dnnl::primitive_attr& attributes,
    const dnnl::convolution_forward::primitive_desc& hint) {
  const dnnl::convolution_backward_weights::desc desc(dnnl::algorithm::convolution_direct, src, diffWeights,
                                                      diffDst, geometry.strides, geometry.holes(),
                                                      geometry.before, geometry.after);
  return dnnl::convolution_backward_weights::primitive_desc(desc, attributes, engine, hint);
}

inline dnnl::matmul::primitive_desc matmul(const dnnl::engine& engine, const Desc& a, const Desc& b,
                                           const Desc& c, const dnnl::primitive_attr& attributes) {
  return dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, c), attributes, engine);
}

#endif

}  // namespace onednn
}  // namespace dw::cpu

#endif
