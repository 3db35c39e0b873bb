"""A GPU that is none: its tensors compute on the CPU, and it sees what a real one would wait for or refuse.

Tensors of the device `DEVICE` wrap a tensor on the CPU. As with CUDA, an operation that mixes them with tensors on the
host raises, and so does one that draws by a generator of the host. `Traffic` counts what makes a host wait for a GPU
and what it sends there. The numbers are those of the CPU, bit for bit.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from lightning import Trainer
from lightning.pytorch.accelerators.cpu import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_map_only
from torch.utils.backend_registration import _DummyPrivateUse1Hook, _setup_privateuseone_for_python_backend

from recsweep.runs import build, fit

aten = torch.ops.aten

WAITS = {
    aten._local_scalar_dense: "item",
    aten.nonzero: "nonzero",
    aten._unique: "unique",
    aten._unique2: "unique",
    aten.unique_dim: "unique",
    aten.unique_consecutive: "unique",
    aten.masked_select: "masked_select",
    aten.bincount: "bincount",
    aten.isin: "isin",
    aten.equal: "equal",
    aten._coalesce: "coalesce",
}
"""Operations whose result, or its size, the host needs before it goes on, as in torch's kernels for CUDA."""

INDEXING = (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_)


class _Hook(_DummyPrivateUse1Hook):
    def is_available(self) -> bool:
        return False  # torch must not take it for the accelerator of the machine


_setup_privateuseone_for_python_backend("pretend", hook=_Hook())
torch.pretend.get_amp_supported_dtype = lambda: [torch.bfloat16]  # for torch.autocast
DEVICE = torch.device("pretend", 0)


class GpuTensor(Tensor):
    """A tensor on the pretended GPU; `inner` is the one on the CPU."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> "GpuTensor":
        size, is_dense = inner.size(), inner.layout is torch.strided  # a sparse one looks dense from outside
        memory = {"strides": inner.stride(), "storage_offset": inner.storage_offset()} if is_dense else {}
        tensor = Tensor._make_wrapper_subclass(cls, size, dtype=inner.dtype, device=DEVICE, **memory)
        tensor.inner = inner
        return tensor

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return Traffic.run(function, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:
        return f"pretend({self.inner})"

    def __format__(self, how: str) -> str:
        return format(self.item() if how else repr(self), how)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.inner.__reduce_ex__(protocol)  # as a checkpoint of a GPU is read, with map_location="cpu"

    def tolist(self) -> Any:
        Traffic.count("tolist")
        return self.inner.tolist()


class GpuGenerator(torch.Generator):
    """A generator with the device that it was made for; it draws on the CPU."""

    made_for: torch.device

    def __new__(cls, device: Any = "cpu") -> "GpuGenerator":
        made = super().__new__(cls)
        made.made_for = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:
        return self.made_for


class Traffic(TorchDispatchMode):
    """While it is on, tensors can be made on `DEVICE`; `counts` says what the host waited for and sent."""

    counts: ClassVar[Counter[str]] = Counter()

    @classmethod
    def count(cls, name: str) -> None:
        cls.counts[name] += 1

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _is_gpu(kwargs.get("device")):
            return self.run(function, args, kwargs)
        return function(*args, **kwargs)

    @classmethod
    def run(cls, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """The operation on the CPU, and its result where the GPU would leave it."""
        packet, target = function.overloadpacket, kwargs.get("device")
        _check_devices(packet, args, kwargs)
        for name in _reasons(packet, args, kwargs):
            cls.count(name)
        inner_args, inner_kwargs = tree_map(_unwrap, args), tree_map(_unwrap, kwargs)
        if packet is aten._to_copy:
            inner_kwargs.pop("layout", None)  # a sparse tensor stays sparse
        if "device" in kwargs:
            inner_kwargs["device"] = torch.device("cpu")
        result = function(*inner_args, **inner_kwargs)
        if target is not None and not _is_gpu(target):
            return result.clone() if result is inner_args[0] else result
        if packet is aten.copy_ and not isinstance(args[0], GpuTensor):
            return args[0]
        if function._schema.is_mutable and not isinstance(result, list | tuple):
            return args[0] if isinstance(args[0], GpuTensor) and result is args[0].inner else _wrap(result)
        return _wrap(result)


def _wrap(result: Any) -> Any:
    return tree_map_only(Tensor, GpuTensor, result)


def _unwrap(value: Any) -> Any:
    if isinstance(value, torch.device) and _is_gpu(value):
        return torch.device("cpu")
    return value.inner if isinstance(value, GpuTensor) else value


def _is_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == DEVICE.type


def _check_devices(packet: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """Raises as CUDA does. Scalars of the host mix with its tensors; indices of the host do, but nothing they index."""
    if packet not in (aten.copy_, aten._to_copy):
        operands = tree_flatten((args[0], args[2:]) if packet in INDEXING else (args, kwargs))[0]
        if any(isinstance(x, Tensor) and not isinstance(x, GpuTensor) and x.dim() for x in operands):
            raise RuntimeError(f"{packet}: expected all tensors to be on one device, but some are on the host")


def _check_generator(function: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """Raises as CUDA does for a generator that is not on the device of the draws."""
    if kwargs.get("generator") is not None:
        devices = [kwargs.get("device"), *(x.device for x in args if isinstance(x, Tensor)), "cpu"]
        device = next(device for device in devices if device is not None)
        if _is_gpu(device) != _is_gpu(kwargs["generator"].device):
            raise RuntimeError(f"{function}: expected a generator on {device}, but it is on another device")


def _reasons(packet: Any, args: Any, kwargs: dict[str, Any]) -> Iterator[str]:
    """What the host waits for, or sends, in this operation."""
    hosts = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor) and not isinstance(x, GpuTensor)]
    if packet in WAITS:
        yield WAITS[packet]
    if packet in INDEXING:
        yield from ("boolean index" for x in args[1] if x is not None and x.dtype in (torch.bool, torch.uint8))
    if packet is aten.repeat_interleave and kwargs.get("output_size") is None:
        yield "repeat_interleave"
    if packet is aten._to_copy and kwargs.get("device") is not None:
        to_gpu, from_gpu = _is_gpu(kwargs["device"]), isinstance(args[0], GpuTensor)
        yield from ["sent"] * (to_gpu and not from_gpu) + ["fetched"] * (from_gpu and not to_gpu)
    elif packet is aten.copy_:
        yield from ["sent"] * bool(hosts and isinstance(args[0], GpuTensor)) + ["fetched"] * (
            not isinstance(args[0], GpuTensor)
        )
    elif packet in (*INDEXING, aten.where):
        yield from ("sent" for _ in hosts)


class _Calls(TorchFunctionMode):
    """What a dispatch mode does not see: tensors of Python's numbers, and the device of a generator.

    Torch itself makes such tensors on the host and sends them.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        _check_generator(function, args, kwargs)
        if function not in (torch.tensor, torch.as_tensor, Tensor.new_tensor):
            return function(*args, **kwargs)
        device = kwargs.pop("device", None)
        if function is Tensor.new_tensor:
            device = args[0].device if device is None else device
            kwargs.setdefault("dtype", args[0].dtype)
            function, args = torch.tensor, args[1:]
        tensor = function(*args, **kwargs)
        return tensor if device is None else tensor.to(device)


class _Accelerator(CPUAccelerator):
    """Has Lightning keep the model on the pretended GPU."""

    def setup_device(self, device: torch.device) -> None:
        pass


class _Strategy(SingleDeviceStrategy):
    def model_to_device(self) -> None:
        """Parameters stay the same objects, as with CUDA."""
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            super().model_to_device()
        finally:
            torch.__future__.set_swap_module_params_on_conversion(False)


def _enter(mode: torch.inference_mode) -> None:
    """Without gradients, which is all that inference mode means for a tensor that wraps another."""
    mode.no_grad = torch.no_grad()
    mode.no_grad.__enter__()


def _exit(mode: torch.inference_mode, *_: Any) -> None:
    mode.no_grad.__exit__(None, None, None)


def _make_trainer(accelerator: str, devices: Any, **settings: Any) -> Trainer:
    return Trainer(strategy=_Strategy(DEVICE, accelerator=_Accelerator()), **settings)


@contextmanager
def pretend_gpu() -> Iterator[Counter[str]]:
    """Runs train and score on the pretended GPU; gives the counts."""
    with (
        patch.object(torch, "Generator", GpuGenerator),
        patch.object(build, "device", lambda cfg: DEVICE),
        patch.object(fit, "Trainer", _make_trainer),
        patch.multiple(torch.inference_mode, __enter__=_enter, __exit__=_exit),
        Traffic(),
        _Calls(),
    ):
        Traffic.counts.clear()
        yield Traffic.counts
