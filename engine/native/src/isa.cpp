#include "isa.hpp"

namespace selenograph {

std::vector<const Isa*> available_isas() {
    std::vector<const Isa*> found;
    for (const Isa* isa : {
             &kScalar,
#ifdef SELENOGRAPH_X86
             &kAvx2, &kAvxVnni, &kAvx512, &kAvx512Vnni, &kAmxInt8,
#endif
#ifdef SELENOGRAPH_ARM
             &kNeon,
#endif
         })
        if (isa->supported()) found.push_back(isa);
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
