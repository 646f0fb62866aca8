// Problems from numbers, checked one by one.
#include "problems.h"

#include <cmath>
#include <stdexcept>

#include "depthwise.h"

namespace dw::cuda {

namespace {

class Numbers {
 public:
  Numbers(const double* numbers, size_t count) : numbers_(numbers), count_(count) {}

  double real(const char* name) {
    if (at_ == count_) throw std::invalid_argument(std::string("a problem ends before ") + name);
    const double value = numbers_[at_++];
    if (!std::isfinite(value)) throw std::invalid_argument(std::string(name) + " is not finite");
    return value;
  }

  int64_t whole(const char* name, int64_t least, int64_t most) {
    const double value = real(name);
    if (value != std::floor(value) || value < static_cast<double>(least) || value > static_cast<double>(most))
      throw std::invalid_argument(std::string(name) + " expects a whole number from " +
                                  std::to_string(least) + " to " + std::to_string(most) + ", got " +
                                  std::to_string(value));
    return static_cast<int64_t>(value);
  }

  int64_t extent(const char* name) { return whole(name, 1, int64_t{1} << 31); }
  int64_t padding(const char* name) { return whole(name, 0, 1 << 20); }
  bool flag(const char* name) { return whole(name, 0, 1) == 1; }
  template <class Enum>
  Enum choice(const char* name, Enum last) {
    return static_cast<Enum>(whole(name, 0, static_cast<int64_t>(last)));
  }

  DataType type(const char* name) {
    switch (whole(name, 0, DW_BF16)) {
      case DW_F32:
        return DataType::f32;
      case DW_F16:
        return DataType::f16;
      case DW_BF16:
        return DataType::bf16;
      default:
        throw std::invalid_argument(std::string(name) + " expects f32, f16 or bf16");
    }
  }

  void end() const {
    if (at_ != count_) throw std::invalid_argument("a problem has numbers left over");
  }

 private:
  const double* numbers_;
  size_t count_;
  size_t at_ = 0;
};

ConvolutionProblem readConvolution(Numbers& in) {
  ConvolutionProblem p;
  p.direction = in.choice("direction", Direction::weightGrad);
  p.fusion = in.choice("fusion", Fusion::affine2Mask);
  p.type = in.type("type");
  p.result = in.type("result");
  p.n = in.extent("n");
  p.h = in.extent("h");
  p.w = in.extent("w");
  p.c = in.extent("c");
  p.o = in.extent("o");
  p.oh = in.extent("oh");
  p.ow = in.extent("ow");
  p.kernelH = in.extent("kernel_h");
  p.kernelW = in.extent("kernel_w");
  p.strideH = in.extent("stride_h");
  p.strideW = in.extent("stride_w");
  p.top = in.padding("top");
  p.bottom = in.padding("bottom");
  p.left = in.padding("left");
  p.right = in.padding("right");
  p.dilationH = in.extent("dilation_h");
  p.dilationW = in.extent("dilation_w");
  p.groups = in.extent("groups");
  p.relu = in.flag("relu");
  p.residual = in.flag("residual");
  p.tf32 = in.flag("tf32");
  p.deterministic = in.flag("deterministic");
  if (p.c % p.groups != 0 || p.o % p.groups != 0)
    throw std::invalid_argument("groups expects to divide the input and output channels");
  return p;
}

NormalizationProblem readNormalization(Numbers& in) {
  NormalizationProblem p;
  p.phase = in.choice("phase", NormalizationPhase::backward);
  p.type = in.type("type");
  p.n = in.extent("n");
  p.h = in.extent("h");
  p.w = in.extent("w");
  p.c = in.extent("c");
  p.epsilon = in.real("epsilon");
  p.momentum = in.real("momentum");
  p.relu = in.flag("relu");
  p.residual = in.flag("residual");
  return p;
}

PoolingProblem readPooling(Numbers& in) {
  PoolingProblem p;
  p.pooling = in.choice("pooling", Pooling::averageCountingPadding);
  p.backward = in.flag("backward");
  p.type = in.type("type");
  p.n = in.extent("n");
  p.h = in.extent("h");
  p.w = in.extent("w");
  p.c = in.extent("c");
  p.oh = in.extent("oh");
  p.ow = in.extent("ow");
  p.kernelH = in.extent("kernel_h");
  p.kernelW = in.extent("kernel_w");
  p.strideH = in.extent("stride_h");
  p.strideW = in.extent("stride_w");
  p.top = in.padding("top");
  p.bottom = in.padding("bottom");
  p.left = in.padding("left");
  p.right = in.padding("right");
  p.deterministic = in.flag("deterministic");
  return p;
}

Problem readKind(Numbers& in) {
  switch (in.whole("the kind of problem", 0, 2)) {
    case 0:
      return readConvolution(in);
    case 1:
      return readNormalization(in);
    default:
      return readPooling(in);
  }
}

}  // namespace

Problem readProblem(const double* numbers, size_t count) {
  Numbers in(numbers, count);
  const Problem problem = readKind(in);
  in.end();
  return problem;
}

}  // namespace dw::cuda
