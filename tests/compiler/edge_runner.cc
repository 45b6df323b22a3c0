// Runs one artefact on a device with nothing but TVM's runtime: MODEL.so OUT.bin then KIND DIMS FILE for each input
// (such as: u8 1,3,32,32 pixels.bin). Writes the bytes of every output, one after the other.
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace ffi = tvm::ffi;

struct Aligned {
  void AllocData(DLTensor* tensor) {
    size_t bytes = ffi::GetDataSize(*tensor);
    tensor->data = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

static DLDataType Kind(const std::string& text) {
  uint8_t code = text[0] == 'f' ? kDLFloat : text[0] == 'u' ? kDLUInt : text[0] == 'b' ? kDLBool : kDLInt;
  return DLDataType{code, static_cast<uint8_t>(text == "bool" ? 8 : std::stoi(text.substr(1))), 1};
}

static ffi::Tensor Read(const std::string& kind, const std::string& dims, const std::string& file) {
  std::vector<int64_t> shape;
  std::stringstream list(dims);
  for (std::string dim; std::getline(list, dim, ',');) shape.push_back(std::stoll(dim));
  ffi::Tensor made = ffi::Tensor::FromNDAlloc(Aligned(), ffi::Shape(shape), Kind(kind), DLDevice{kDLCPU, 0});
  std::ifstream(file, std::ios::binary).read(static_cast<char*>(made.data_ptr()), ffi::GetDataSize(made));
  return made;
}

static void Write(std::ofstream& out, const ffi::Tensor& tensor) {
  out.write(static_cast<const char*>(tensor.data_ptr()), ffi::GetDataSize(tensor));
}

int main(int count, char** words) {
  try {
    ffi::Module library = ffi::Module::LoadFromFile(words[1]);
    ffi::Module machine = library->GetFunction("vm_load_executable").value()().cast<ffi::Module>();
    const int pooled = 2;
    machine->GetFunction("vm_initialization").value()(static_cast<int>(kDLCPU), 0, pooled);
    std::vector<ffi::AnyView> inputs;
    std::vector<ffi::Tensor> kept;
    for (int i = 3; i + 2 < count; i += 3) kept.push_back(Read(words[i], words[i + 1], words[i + 2]));
    for (const ffi::Tensor& tensor : kept) inputs.push_back(tensor);
    ffi::Any result;
    machine->GetFunction("main").value().CallPacked(inputs.data(), static_cast<int>(inputs.size()), &result);
    std::ofstream out(words[2], std::ios::binary);
    if (auto one = result.as<ffi::Tensor>()) {
      Write(out, *one);
    } else {
      for (const ffi::Tensor& tensor : result.cast<ffi::Array<ffi::Tensor>>()) Write(out, tensor);
    }
    return out.good() ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    return 1;
  }
}
