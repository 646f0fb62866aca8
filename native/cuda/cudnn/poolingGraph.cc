// The graphs of pooling: cuDNN calls it resampling.
#include "graph.h"

namespace dw::cuda {

namespace {

cudnnResampleMode_t modeOf(Pooling pooling) {
  if (pooling == Pooling::max) return CUDNN_RESAMPLE_MAXPOOL;
  return pooling == Pooling::average ? CUDNN_RESAMPLE_AVGPOOL_EXCLUDE_PADDING
                                     : CUDNN_RESAMPLE_AVGPOOL_INCLUDE_PADDING;
}

}  // namespace

std::unique_ptr<Graph> graphOf(const Cudnn& cudnn, const PoolingProblem& p) {
  using Pair = std::vector<int64_t>;
  // cuDNN's index is a signed byte: row*kernelW + column must not reach 128.
  if (p.pooling == Pooling::max && p.kernelH * p.kernelW > 127)
    throw PlanError(PlanError::Kind::unsupported, "max pooling over more than 127 elements");
  auto graph = std::make_unique<Graph>(cudnn);
  const cudnnDataType_t type = dataTypeOf(p.type);
  const Dims image = {p.n, p.c, p.h, p.w}, pooled = {p.n, p.c, p.oh, p.ow};
  Descriptor& resample = graph->keep(CUDNN_BACKEND_RESAMPLE_DESCRIPTOR);
  resample.set(CUDNN_ATTR_RESAMPLE_MODE, modeOf(p.pooling))
      .set(CUDNN_ATTR_RESAMPLE_COMP_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_RESAMPLE_SPATIAL_DIMS, int64_t{2})
      .set(CUDNN_ATTR_RESAMPLE_PADDING_MODE, p.pooling == Pooling::max ? CUDNN_NEG_INF_PAD : CUDNN_ZERO_PAD)
      .set(CUDNN_ATTR_RESAMPLE_PRE_PADDINGS, Pair{p.top, p.left})
      .set(CUDNN_ATTR_RESAMPLE_POST_PADDINGS, Pair{p.bottom, p.right})
      .set(CUDNN_ATTR_RESAMPLE_STRIDES, Pair{p.strideH, p.strideW})
      .set(CUDNN_ATTR_RESAMPLE_WINDOW_DIMS, Pair{p.kernelH, p.kernelW})
      .finalize();
  if (p.backward) {
    const Operand& g = graph->input(pooled, type);
    const Operand* index = p.pooling == Pooling::max ? &graph->input(pooled, CUDNN_DATA_INT8) : nullptr;
    const Operand& dx = graph->output(image, type);
    Descriptor& operation = graph->operation(CUDNN_BACKEND_OPERATION_RESAMPLE_BWD_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_RESAMPLE_BWD_DESC, resample)
        .set(CUDNN_ATTR_OPERATION_RESAMPLE_BWD_DYDESC, g.descriptor)
        .set(CUDNN_ATTR_OPERATION_RESAMPLE_BWD_DXDESC, dx.descriptor);
    if (index != nullptr) operation.set(CUDNN_ATTR_OPERATION_RESAMPLE_BWD_IDXDESC, index->descriptor);
    operation.finalize();
    return graph;
  }
  const Operand& x = graph->input(image, type);
  const Operand& y = graph->output(pooled, type);
  const Operand* index = p.pooling == Pooling::max ? &graph->output(pooled, CUDNN_DATA_INT8) : nullptr;
  Descriptor& operation = graph->operation(CUDNN_BACKEND_OPERATION_RESAMPLE_FWD_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_DESC, resample)
      .set(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_XDESC, x.descriptor)
      .set(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_YDESC, y.descriptor);
  if (index != nullptr) operation.set(CUDNN_ATTR_OPERATION_RESAMPLE_FWD_IDXDESC, index->descriptor);
  operation.finalize();
  return graph;
}

}  // namespace dw::cuda
