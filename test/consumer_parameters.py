# SPDX-License-Identifier: Apache-2.0
"""Documented names of the parameters of the packages that config/integration configures."""

# rtabmap_ros, branch ros2: declare_parameter of CoreWrapper.cpp, CommonDataSubscriber.cpp and
# MapsManager.cpp; rtabmap, Parameters.h for those with a capital (groups that we use)
RTABMAP = set(
    'config_path database_path delete_db_on_start frame_id odom_frame_id odom_frame_id_init '
    'map_frame_id ground_truth_frame_id ground_truth_base_frame_id log_to_rosout_level publish_tf '
    'tf_delay tf_tolerance odom_tf_angular_variance odom_tf_linear_variance '
    'landmark_angular_variance landmark_linear_variance pub_loc_pose_only_when_localizing '
    'wait_for_transform staleness_factor initial_pose use_action_for_goal use_saved_map gen_scan '
    'gen_scan_max_depth gen_scan_min_depth gen_depth gen_depth_decimation '
    'gen_depth_fill_holes_size gen_depth_fill_iterations gen_depth_fill_holes_error '
    'scan_cloud_max_points scan_cloud_is_2d stereo_to_depth odom_sensor_sync is_rtabmap_paused '
    'loc_thr qos_gps qos_imu qos_env_sensor subscribe_depth subscribe_rgb subscribe_scan '
    'subscribe_scan_cloud subscribe_scan_descriptor subscribe_stereo subscribe_rgbd '
    'subscribe_sensor_data subscribe_odom_info subscribe_user_data subscribe_odom rgbd_cameras '
    'topic_queue_size sync_queue_size image_transport depth_transport qos qos_odom qos_image '
    'qos_camera_info qos_scan qos_user_data qos_sensor_data approx_sync approx_sync_max_interval '
    'map_filter_radius map_filter_angle map_cleanup map_always_update map_empty_ray_tracing '
    'map_cache_loaded_on_init cloud_output_voxelized cloud_subtract_filtering '
    'cloud_subtract_filtering_min_neighbors latch octomap_tree_depth '
    'Rtabmap/DetectionRate Reg/Strategy Reg/Force3DoF Grid/Sensor Grid/DepthDecimation '
    'Grid/RangeMin Grid/RangeMax Grid/CellSize Grid/MapFrameProjection Grid/NormalsSegmentation '
    'Grid/MaxObstacleHeight Grid/MinGroundHeight Grid/MaxGroundHeight Grid/MaxGroundAngle Grid/3D '
    'Grid/RayTracing'.split())

# robot_localization, branch ros2: doc/state_estimation_nodes.rst and params/ekf.yaml; [sensor] is
# odom0, odom1, imu0 ...
EKF = set(
    'frequency sensor_timeout two_d_mode map_frame odom_frame base_link_frame '
    'base_link_frame_output world_frame transform_time_offset transform_timeout '
    'gravitational_acceleration initial_state permit_corrected_publication print_diagnostics '
    'publish_tf publish_acceleration use_control stamped_control control_timeout control_config '
    'acceleration_limits deceleration_limits acceleration_gains deceleration_gains '
    'smooth_lagged_data history_length debug debug_out_file process_noise_covariance '
    'dynamic_process_noise_covariance initial_estimate_covariance reset_on_time_jump '
    'predict_to_current_time disabled_at_startup'.split())
EKF_SENSOR = set(
    'config queue_size differential relative pose_use_child_frame pose_rejection_threshold '
    'twist_rejection_threshold remove_gravitational_acceleration nodelay'.split())

# docs.nav2.org: configuration/packages/configuring-costmaps, costmap-plugins/voxel and inflation
COSTMAP = set(
    'always_send_full_costmap introspection_mode allow_parameter_qos_overrides footprint_padding '
    'footprint global_frame height width lethal_cost_threshold map_vis_z origin_x origin_y '
    'publish_frequency resolution robot_base_frame robot_radius subscribe_to_stamped_footprint '
    'rolling_window track_unknown_space transform_tolerance initial_transform_timeout '
    'trinary_costmap unknown_cost_value inscribed_obstacle_cost_value update_frequency '
    'use_maximum plugins filters'.split())
VOXEL_LAYER = set(
    'plugin enabled footprint_clearing_enabled min_obstacle_height max_obstacle_height z_voxels '
    'origin_z z_resolution unknown_threshold mark_threshold combination_method publish_voxel_map '
    'tf_filter_tolerance observation_sources'.split())
OBSERVATION_SOURCE = set(
    'topic sensor_frame observation_persistence expected_update_rate data_type transport_type '
    'min_obstacle_height max_obstacle_height inf_is_valid marking clearing obstacle_max_range '
    'obstacle_min_range raytrace_max_range raytrace_min_range'.split())
INFLATION_LAYER = set(
    'plugin enabled inflation_radius custom_inscribed_radius cost_scaling_factor inflate_unknown '
    'inflate_around_unknown num_threads'.split())

# depthimage_to_laserscan, branch ros2: DepthImageToLaserScanROS.cpp
LASERSCAN = {'scan_time', 'range_min', 'range_max', 'scan_height', 'output_frame'}
