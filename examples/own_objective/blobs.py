"""Three clouds of points are told apart: no speech, but searched, pruned and repaired as a voice is."""

import torch
from torch import nn

from smart_tuner import Objective, Parameter, Run

CENTRES = torch.tensor([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]])


def points(seed, n=256):
    random = torch.Generator().manual_seed(seed)
    kinds = torch.randint(3, (n,), generator=random)
    return CENTRES[kinds] + 1.2 * torch.randn(n, 2, generator=random), kinds


class Classifier(Run):
    def __init__(self, settings, seed, device):
        torch.manual_seed(seed)
        self.settings, self.seed, self.device = settings, seed, device
        self.net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3)).to(device)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)

    def loss(self, seed):
        found, kinds = points(seed)
        return nn.functional.cross_entropy(self.net(found.to(self.device)), kinds.to(self.device))

    def advance(self):
        self.optimizer.param_groups[0]["lr"] = self.settings["learning_rate"]
        self.optimizer.zero_grad()
        loss = self.loss(self.seed + self.step)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), float("inf"))
        self.optimizer.step()
        self.step += 1
        return {"loss": loss.item(), "grad_norm": norm.item()}

    def measure(self):
        return {"value": self.loss(-1).item()}

    def save(self, folder):
        torch.save((self.net.state_dict(), self.optimizer.state_dict(), self.step), folder / "run.pt")

    def restore(self, folder):
        weights, momenta, self.step = torch.load(folder / "run.pt")
        self.net.load_state_dict(weights)
        self.optimizer.load_state_dict(momenta)


class Blobs(Objective):
    parameters = {"learning_rate": Parameter(0.1, low=1e-6, high=1e6)}

    def run(self, parameters, seed, device):
        return Classifier(parameters, seed, device)
