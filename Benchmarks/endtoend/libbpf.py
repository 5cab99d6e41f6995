"""BPF programs, through libbpf: loaded, set up, attached, and their maps read. What is attached goes with this process."""

import ctypes
import os
import socket

_lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
LIVE_FRAMES = 2  # BPF_F_TEST_XDP_LIVE_FRAMES, <linux/bpf.h>
_libc = ctypes.CDLL(None, use_errno=True)


def _function(name, result, *arguments):
    function = getattr(_lib, name)
    function.restype, function.argtypes = result, arguments
    return function


_P, _S, _I = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_open = _function("bpf_object__open_file", _P, _S, _P)
_load = _function("bpf_object__load", _I, _P)
_close = _function("bpf_object__close", None, _P)
_program = _function("bpf_object__find_program_by_name", _P, _P, _S)
_program_fd = _function("bpf_program__fd", _I, _P)
_map = _function("bpf_object__find_map_by_name", _P, _P, _S)
_map_fd = _function("bpf_map__fd", _I, _P)
_set_max_entries = _function("bpf_map__set_max_entries", _I, _P, ctypes.c_uint32)
_value_size = _function("bpf_map__value_size", ctypes.c_uint32, _P)
_initial_value = _function("bpf_map__initial_value", _P, _P, ctypes.POINTER(ctypes.c_size_t))
_attach = _function("bpf_program__attach", _P, _P)
_attach_xdp = _function("bpf_program__attach_xdp", _P, _P, _I)
_link_destroy = _function("bpf_link__destroy", _I, _P)
_lookup = _function("bpf_map_lookup_elem", _I, _I, _P, _P)
_update = _function("bpf_map_update_elem", _I, _I, _P, _P, ctypes.c_uint64)
_test_run = _function("bpf_prog_test_run_opts", _I, _I, _P)
CPUS = _function("libbpf_num_possible_cpus", _I)()


class _RunOptions(ctypes.Structure):
    """struct bpf_test_run_opts, <bpf/bpf.h>"""

    _fields_ = [
        ("sz", ctypes.c_size_t), ("data_in", _S), ("data_out", _P), ("data_size_in", ctypes.c_uint32), ("data_size_out", ctypes.c_uint32),
        ("ctx_in", _P), ("ctx_out", _P), ("ctx_size_in", ctypes.c_uint32), ("ctx_size_out", ctypes.c_uint32), ("retval", ctypes.c_uint32),
        ("repeat", _I), ("duration", ctypes.c_uint32), ("flags", ctypes.c_uint32), ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    ]


def _checked(result, what):
    """libbpf returns -errno, or sets errno and returns a null pointer."""
    if result is None:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    if result < 0:
        raise OSError(-result, f"{what}: {os.strerror(-result)}")
    return result


class Object:
    """A loaded object file. `constants`: initial bytes of its read-only data (there must be one constant). `sizes`: how many
    entries maps have, where the file does not say."""

    def __init__(self, path, constants=b"", sizes=None):
        self.path, self._links = path, []
        self._object = _checked(_open(os.fsencode(path), None), path)
        if constants:
            size = ctypes.c_size_t()
            address = _initial_value(self._map(".rodata"), ctypes.byref(size))
            assert size.value == len(constants), f"{path}: {size.value} bytes of constants, {len(constants)} given"
            ctypes.memmove(address, constants, len(constants))
        for name, entries in (sizes or {}).items():
            _checked(_set_max_entries(self._map(name), entries), f"{path}: size of {name}")
        _checked(_load(self._object), path)

    def close(self):
        for link in self._links:
            _link_destroy(link)
        _close(self._object)

    def _map(self, name):
        return _checked(_map(self._object, name.encode()), f"{self.path}: map {name}")

    def _map_fd(self, name, size):
        """The kernel reads and writes as many bytes as a value has: it must be what the caller thinks."""
        found = self._map(name)
        assert _value_size(found) == size, f"{self.path}: a value of {name} has {_value_size(found)} bytes, not {size}"
        return _map_fd(found)

    def _function(self, name):
        return _checked(_program(self._object, name.encode()), f"{self.path}: program {name}")

    def attach(self, program):
        """Where its section says."""
        self._links.append(_checked(_attach(self._function(program)), f"attaching {program}"))

    def attach_xdp(self, program, device):
        """To a device of the namespace that we are in, natively if the driver can."""
        link = _attach_xdp(self._function(program), socket.if_nametoindex(device))
        self._links.append(_checked(link, f"attaching {program} to {device}"))

    def read(self, name, size, key=0, per_cpu=False):
        """The bytes of an entry: of all CPUs after each other if it has one value for each."""
        map_fd = self._map_fd(name, size)
        value = ctypes.create_string_buffer(size * (CPUS if per_cpu else 1))
        _checked(_lookup(map_fd, ctypes.byref(ctypes.c_uint32(key)), value), f"{self.path}: map {name}")
        return value.raw

    def write(self, name, value, key=0):
        _checked(_update(self._map_fd(name, len(value)), ctypes.byref(ctypes.c_uint32(key)), value, 0), f"{self.path}: map {name}")

    def run(self, program, data, repeat, batch):
        """Runs an XDP program on live frames, `repeat` of them, `batch` at a time. The interpreter's lock is not held meanwhile."""
        options = _RunOptions(ctypes.sizeof(_RunOptions), data, None, len(data), 0, None, None, 0, 0,
                              0, repeat, 0, LIVE_FRAMES, 0, batch)
        _checked(_test_run(_program_fd(self._function(program)), ctypes.byref(options)), f"running {program}")

    def time(self, program, data, action, repeat=50_000):
        """Nanoseconds that a run of an XDP program on these bytes takes, as the kernel measures it; the last one has to end with
        `action`."""
        options = _RunOptions(ctypes.sizeof(_RunOptions), data, None, len(data), 0, None, None, 0, 0, 0, repeat, 0, 0, 0, 0)
        _checked(_test_run(_program_fd(self._function(program)), ctypes.byref(options)), f"running {program}")
        assert options.retval == action, f"{program} ended with action {options.retval}, not {action}"
        return options.duration
