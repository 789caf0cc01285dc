#include "isa.hpp"

namespace selenograph {

std::vector<const Isa*> available_isas() {
    std::vector<const Isa*> found{&kScalar};
#ifdef SELENOGRAPH_X86
    if (kAvx2.supported()) found.push_back(&kAvx2);
#endif
    return found;
}

const Isa* find_isa(const std::string& name) {
    const auto found = available_isas();
    if (name == "auto") return found.back();
    for (const Isa* isa : found)
        if (name == isa->name) return isa;
    return nullptr;
}

}  // namespace selenograph
