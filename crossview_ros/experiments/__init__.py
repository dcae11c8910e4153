# SPDX-License-Identifier: Apache-2.0
"""Experiments: tables of training runs that answer whether pre-training does what is claimed."""
