"""The sources that primitives cite, by key."""

from __future__ import annotations

REFERENCES = {
    "gowal2018ibp": "Gowal et al.: On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust "
    "Models, 2018",
    "jagatap2021atent": "Jagatap, Joshi, Basak Chowdhury, Garg, Hegde: Adversarially Robust Learning via Entropic "
    "Regularization, 2021",
    "madry2018pgd": "Madry, Makelov, Schmidt, Tsipras, Vladu: Towards Deep Learning Models Resistant to Adversarial "
    "Attacks, ICLR 2018",
    "goodfellow2015fgsm": "Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples, ICLR 2015",
    "welling2011sgld": "Welling, Teh: Bayesian Learning via Stochastic Gradient Langevin Dynamics, ICML 2011",
    "roberts1996langevin": "Roberts, Tweedie: Exponential Convergence of Langevin Distributions and their Discrete "
    "Approximations, Bernoulli 2(4), 1996",
    "chaudhari2017entropysgd": "Chaudhari et al.: Entropy-SGD: Biasing Gradient Descent into Wide Valleys, ICLR 2017",
    "carlini2017cw": "Carlini, Wagner: Towards Evaluating the Robustness of Neural Networks, IEEE S&P 2017",
    "croce2020autoattack": "Croce, Hein: Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse "
    "Parameter-free Attacks, ICML 2020",
    "tramer2019multiple": "Tramer, Boneh: Adversarial Training and Robustness for Multiple Perturbations, NeurIPS 2019",
    "duchi2008l1": "Duchi, Shalev-Shwartz, Singer, Chandra: Efficient Projections onto the l1-Ball for Learning in "
    "High Dimensions, ICML 2008",
    "dong2018mifgsm": "Dong et al.: Boosting Adversarial Attacks with Momentum, CVPR 2018",
    "zhang2019trades": "Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan: Theoretically Principled Trade-off between "
    "Robustness and Accuracy, ICML 2019",
    "wang2020mart": "Wang, Zou, Yi, Bailey, Ma, Gu: Improving Adversarial Robustness Requires Revisiting Misclassified "
    "Examples, ICLR 2020",
    "wu2020awp": "Wu, Xia, Wang: Adversarial Weight Perturbation Helps Robust Generalization, NeurIPS 2020",
    "shafahi2019free": "Shafahi et al.: Adversarial Training for Free!, NeurIPS 2019",
    "loshchilov2019adamw": "Loshchilov, Hutter: Decoupled Weight Decay Regularization, ICLR 2019",
    "smith2017cyclical": "Smith: Cyclical Learning Rates for Training Neural Networks, WACV 2017",
    "wong2020fast": "Wong, Rice, Kolter: Fast is Better than Free: Revisiting Adversarial Training, ICLR 2020",
    "crammer2001multiclass": "Crammer, Singer: On the Algorithmic Implementation of Multiclass Kernel-based Vector "
    "Machines, JMLR 2, 2001",
    "izmailov2018swa": "Izmailov, Podoprikhin, Garipov, Vetrov, Wilson: Averaging Weights Leads to Wider Optima and "
    "Better Generalization, UAI 2018",
    "tarvainen2017mean": "Tarvainen, Valpola: Mean Teachers are Better Role Models: Weight-averaged Consistency "
    "Targets Improve Semi-supervised Deep Learning Results, NeurIPS 2017",
    "gowal2020uncovering": "Gowal, Qin, Uesato, Mann, Kohli: Uncovering the Limits of Adversarial Training against "
    "Norm-Bounded Adversarial Examples, 2020",
    "ding2020mma": "Ding, Sharma, Lui, Huang: MMA Training: Direct Input Space Margin Maximization through Adversarial "
    "Training, ICLR 2020",
    "loshchilov2017sgdr": "Loshchilov, Hutter: SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017",
}
