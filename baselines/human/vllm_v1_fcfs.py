"""First come, first served under vLLM's V1 rules: the engine as it ships, without a hook.

Running requests first, in order of admission, then the waiting ones in order of arrival while budget and blocks last;
prompts are cut into chunks; the youngest is preempted when a block is short, and nobody is admitted in that iteration.

Source: vLLM 0.33.0, the scheduler of its V1 engine with the policy fcfs.
Loses: when short requests queue behind long ones, and when memory is short: it admits whatever fits now and pays with
preemptions later.
"""

SOURCE = "vllm-project/vllm 0.33.0, vllm/v1/core/sched/scheduler.py"
ENGINE_MODE = "vllm_v1"
