# SPDX-License-Identifier: Apache-2.0
"""Deployment artefacts from trained models."""
