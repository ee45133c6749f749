"""The mathematics, readable beside the papers: denoisers, closed forms, the training loop and its optimizer."""

from difgen_cli.diffusion.closed_forms import IdealDenoiser as IdealDenoiser
from difgen_cli.diffusion.closed_forms import Mixture as Mixture
from difgen_cli.diffusion.closed_forms import MixtureDenoiser as MixtureDenoiser
from difgen_cli.diffusion.closed_forms import PatchDenoiser as PatchDenoiser
from difgen_cli.diffusion.denoiser import COEFFICIENTS as COEFFICIENTS
from difgen_cli.diffusion.denoiser import P_MEAN as P_MEAN
from difgen_cli.diffusion.denoiser import P_STD as P_STD
from difgen_cli.diffusion.denoiser import Denoiser as Denoiser
from difgen_cli.diffusion.denoiser import DenoiserLike as DenoiserLike
from difgen_cli.diffusion.denoiser import loss as loss
from difgen_cli.diffusion.denoiser import loss_weight as loss_weight
from difgen_cli.diffusion.denoiser import per_item as per_item
from difgen_cli.diffusion.denoiser import preconditioning as preconditioning
from difgen_cli.diffusion.denoiser import scaled as scaled
from difgen_cli.diffusion.denoiser import sigma_range as sigma_range
from difgen_cli.diffusion.denoiser import to_array as to_array
from difgen_cli.diffusion.denoiser import to_tensor as to_tensor
from difgen_cli.diffusion.denoiser import training_sigma as training_sigma
