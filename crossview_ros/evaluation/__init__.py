# SPDX-License-Identifier: Apache-2.0
"""Compare models and classical baselines on samples with truth; no part of the product."""
