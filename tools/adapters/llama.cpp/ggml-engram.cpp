// A backend of ggml that computes one operation: the look-up in a model's N-gram table, whose rows it reads from a pack.
//
// llama.cpp and what is built on it load it where the environment has GGML_BACKEND_PATH=/path/to/libggml-engram.so; the
// program itself is not changed. The table's tensor in the GGUF is never read, so it may be a hole.
//
//     ENGRAM_PACK     the pack; without it this backend stays out of the way
//     ENGRAM_OPTIONS  how it is opened, as JSON, such as {"cache_bytes": "1 GiB"}
//     ENGRAM_LAYER    the layer, where the pack has several
//     ENGRAM_TENSOR   name of the table's tensor, if it is not per_layer_token_embd.weight
//     ENGRAM_ANY_CODEC   set: rows of another codec than the tensor's type are read, too
//
// To be compiled against the headers of the very llama.cpp that loads it: ggml checks the number of the interface, but
// not the layout of what it hands over.

#include "ggml-backend-impl.h"

#include "engram-table.hpp"

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

using engram::Table;

const char * const NAME = "ENGRAM";

// A process that goes on would read the file's tensor instead, whatever is in it, and nobody would see that from its
// output. So whatever is wrong with the pack ends it.
[[noreturn]] void stop(const char * message) {
    fprintf(stderr, "engram: %s\n", message);
    exit(1);
}

const char * setting(const char * name, const char * otherwise) {
    const char * value = getenv(name);
    return value && *value ? value : otherwise;
}

// The table of this process, opened when it is first asked for; null without a pack.
const Table * the_table() {
    static const char * pack = setting("ENGRAM_PACK", nullptr);
    if (!pack) {
        return nullptr;
    }
    try {
        // Never closed: what runs while a process ends may still ask for it.
        static const Table * table =
            new Table(pack, setting("ENGRAM_OPTIONS", "{}"), setting("ENGRAM_LAYER", nullptr),
                      setting("ENGRAM_TENSOR", "per_layer_token_embd.weight"));
        return table;
    } catch (const std::exception & error) {
        stop(error.what());
    }
}

// Whether `op` looks rows of the table up. Ends the process if the model's table is another one.
bool is_lookup(const ggml_tensor * op) {
    try {
        return the_table()->is_lookup(op);
    } catch (const std::exception & error) {
        stop(error.what());
    }
}

// What has no bytes to compute: another view of a tensor.
bool is_view(const ggml_tensor * op) {
    return op->op == GGML_OP_NONE || op->op == GGML_OP_RESHAPE || op->op == GGML_OP_VIEW || op->op == GGML_OP_PERMUTE ||
           op->op == GGML_OP_TRANSPOSE;
}

struct Backend {
    engram::Owned<engram_batch> batch;
    std::vector<int32_t> ids;
};

// op[.., i, :] = table[ids[.., i], :]
bool look_up(Backend & backend, ggml_tensor * op) {
    const ggml_tensor * ids = op->src[1];
    backend.ids.resize(size_t(ggml_nelements(ids)));
    size_t next = 0;
    for (int64_t k = 0; k < ids->ne[2] * ids->ne[3]; k++) {
        const char * plane = (const char *) ids->data + (k % ids->ne[2]) * ids->nb[2] + (k / ids->ne[2]) * ids->nb[3];
        for (int64_t j = 0; j < ids->ne[1]; j++) {
            for (int64_t i = 0; i < ids->ne[0]; i++) {
                memcpy(&backend.ids[next++], plane + j * ids->nb[1] + i * ids->nb[0], sizeof(int32_t));
            }
        }
    }
    if (!ggml_is_contiguous(op)) {
        fprintf(stderr, "engram: %s: rows are wanted with gaps, which this backend does not do\n", op->name);
        return false;
    }
    try {
        the_table()->look_up(backend.batch.get(), backend.ids.data(), next, op->data, ggml_nbytes(op));
        return true;
    } catch (const std::exception & error) {
        fprintf(stderr, "engram: %s: %s\n", op->name, error.what());
        return false;
    }
}

// --- what ggml asks of a backend

ggml_status graph_compute(ggml_backend_t backend, ggml_cgraph * graph) {
    Backend & ours = *(Backend *) backend->context;
    for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
        ggml_tensor * op = ggml_graph_node(graph, i);
        if (!is_view(op) && !(is_lookup(op) && look_up(ours, op))) {
            return GGML_STATUS_FAILED;
        }
    }
    return GGML_STATUS_SUCCESS;
}

void free_backend(ggml_backend_t backend) {
    delete (Backend *) backend->context;
    delete backend;
}

const char * backend_name(ggml_backend_t) {
    return NAME;
}

const char * device_name(ggml_backend_dev_t) {
    return NAME;
}

const char * device_description(ggml_backend_dev_t) {
    return "rows of an N-gram table from a pack";
}

void device_memory(ggml_backend_dev_t, size_t * free, size_t * total) {
    *free = *total = 0;
}

// Schedulers prefer such devices to the processor for what they support, and put no tensors there.
enum ggml_backend_dev_type device_type(ggml_backend_dev_t) {
    return GGML_BACKEND_DEVICE_TYPE_ACCEL;
}

void device_props(ggml_backend_dev_t device, ggml_backend_dev_props * props) {
    memset(props, 0, sizeof *props);
    props->name = device_name(device);
    props->description = device_description(device);
    props->type = device_type(device);
    props->caps.buffer_from_host_ptr = true;
    props->caps.mmap_support = true;
}

ggml_backend_t init_backend(ggml_backend_dev_t device, const char *) {
    static ggml_guid guid = { 0xe7, 0x67, 0x72, 0x61, 0x6d, 0x2d, 0x72, 0x6f, 0x77, 0x73, 0x2d, 0x67, 0x67, 0x6d, 0x6c, 0x31 };
    Backend * ours = nullptr;
    try {
        ours = new Backend{ engram::new_batch(), {} };
    } catch (const std::exception & error) {
        stop(error.what());
    }
    ggml_backend_i interface = {};
    interface.get_name = backend_name;
    interface.free = free_backend;
    interface.graph_compute = graph_compute;
    return new ggml_backend{ &guid, interface, device, ours };
}

ggml_backend_buffer_type_t buffer_type(ggml_backend_dev_t) {
    return ggml_backend_cpu_buffer_type();
}

ggml_backend_buffer_t buffer_from_host_ptr(ggml_backend_dev_t, void * start, size_t size, size_t) {
    return ggml_backend_cpu_buffer_from_ptr(start, size);
}

bool supports_op(ggml_backend_dev_t, const ggml_tensor * op) {
    return is_view(op) || is_lookup(op);
}

bool supports_buft(ggml_backend_dev_t, ggml_backend_buffer_type_t type) {
    return ggml_backend_buft_is_host(type);
}

const char * registry_name(ggml_backend_reg_t) {
    return NAME;
}

size_t device_count(ggml_backend_reg_t) {
    return the_table() ? 1 : 0;
}

ggml_backend_dev_t device(ggml_backend_reg_t registry, size_t) {
    static ggml_backend_device device = {};
    device.iface.get_name = device_name;
    device.iface.get_description = device_description;
    device.iface.get_memory = device_memory;
    device.iface.get_type = device_type;
    device.iface.get_props = device_props;
    device.iface.init_backend = init_backend;
    device.iface.get_buffer_type = buffer_type;
    device.iface.buffer_from_host_ptr = buffer_from_host_ptr;
    device.iface.supports_op = supports_op;
    device.iface.supports_buft = supports_buft;
    device.reg = registry;
    return &device;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) ggml_backend_reg_t ggml_backend_init(void) {
    static ggml_backend_reg registry = { GGML_BACKEND_API_VERSION, { registry_name, device_count, device, nullptr }, nullptr };
    return &registry;
}
