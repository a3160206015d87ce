"""A small classifier of three clouds of points: no speech at all, but searched, pruned and repaired like it."""

import torch
from torch import nn

from smart_tuner import Objective, Parameter, Run


def cloud(seed, n=256):
    """Points of three classes in the plane, around three centres."""
    random = torch.Generator().manual_seed(seed)
    kind = torch.randint(3, (n,), generator=random)
    centres = torch.tensor([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]])
    return centres[kind] + 1.2 * torch.randn(n, 2, generator=random), kind


class Classifier(Run):
    def __init__(self, settings, seed, device):
        self.settings, self.seed, self.device = settings, seed, device
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3)).to(device)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)

    def loss(self, points, kind):
        return nn.functional.cross_entropy(self.net(points.to(self.device)), kind.to(self.device))

    def advance(self):
        self.optimizer.param_groups[0].update(lr=self.settings["learning_rate"])
        loss = self.loss(*cloud(10_000 * self.seed + self.step, self.settings["batch_size"]))
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.settings["grad_clip_thresh"])
        self.optimizer.step()
        self.step += 1
        return {"loss": loss.item(), "grad_norm": norm.item()}

    def measure(self):
        with torch.no_grad():
            return {"value": self.loss(*cloud(-1)).item()}

    def save(self, folder):
        state = self.net.state_dict(), self.optimizer.state_dict(), self.step
        torch.save(state, folder / "run.pt")

    def restore(self, folder):
        net, optimizer, self.step = torch.load(folder / "run.pt")
        self.net.load_state_dict(net), self.optimizer.load_state_dict(optimizer)


class Blobs(Objective):
    parameters = {
        "learning_rate": Parameter(0.1, low=1e-6, high=1e6),
        "batch_size": Parameter(32, low=1, high=1024),
        "grad_clip_thresh": Parameter(1e6, low=0.01, high=1e6),
    }

    def run(self, parameters, seed, device):
        return Classifier(parameters, seed, device)
